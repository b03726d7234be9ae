"""Messages to numpy and the engine's dataclasses, and back."""
