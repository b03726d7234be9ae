"""The simulated tabletop: objects, textures, camera, and the truth of every pixel."""
