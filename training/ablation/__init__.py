"""The paper's ablations on the embedded model: what each part of the heads is worth."""
