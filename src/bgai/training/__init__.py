"""From an option file to weights."""
