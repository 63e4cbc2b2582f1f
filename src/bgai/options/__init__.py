"""Option files and what they may say."""
