"""What the node costs above the engine."""
