"""The `bgai` command."""
