"""Picture files, and how strongly they were compressed."""
