"""A robot program that picks up what it is told to, with a simulated arm."""
