"""One file a data set. A file that defines `PUBLISHED` is found by training/data/registry.py."""
