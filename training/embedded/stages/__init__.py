"""The stages of making the embedded model, one file each."""
