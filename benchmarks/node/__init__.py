"""What the node costs above the engine, what it costs idle, and how soon it answers."""
