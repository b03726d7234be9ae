"""How far targets in space are from the truth."""
