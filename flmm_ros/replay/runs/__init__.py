"""Runs over one recording or many, on one process or a cluster."""
