"""For robot programs: ask the node, get numpy back. Needs no torch."""
