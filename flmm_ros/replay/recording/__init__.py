"""Recordings read from disk, whole or damaged."""
