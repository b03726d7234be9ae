"""What is said about a tabletop, as text and as tokens."""
