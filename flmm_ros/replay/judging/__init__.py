"""How right an answer is, and the numbers made of many."""
