"""The node at work while everything around it goes wrong."""
