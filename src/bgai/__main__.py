"""`python -m bgai`."""

from bgai.cli import app

app()
