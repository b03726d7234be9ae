"""The command `flmm`: one file for each of its verbs."""
