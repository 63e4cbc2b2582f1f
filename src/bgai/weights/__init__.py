"""Where weights are found, and how they are stored and described."""
