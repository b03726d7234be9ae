"""The embedded model, from nothing: scenes, vision tower, text-only language model, mask heads."""
