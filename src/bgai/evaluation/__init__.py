"""Scores over sets of images, and the pages that show them."""
