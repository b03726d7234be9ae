"""Evaluation on published data sets: cases, their numbers, tables and a page."""
