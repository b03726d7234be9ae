"""What the frozen parts make of samples, computed now or read from a cache."""
