"""One file for each family of large multimodal models."""
