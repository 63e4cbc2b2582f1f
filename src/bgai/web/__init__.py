"""A page to drop pictures on, and the HTTP service behind it."""
