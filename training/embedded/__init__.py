"""The embedded model, from random weights: scenes, vision encoder, language model, mask heads."""
