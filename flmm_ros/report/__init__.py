"""The look of every HTML page this package writes, and the pictures on them."""
