"""How well the embedded model points and answers."""
