"""What a training step and a feature cache cost."""
