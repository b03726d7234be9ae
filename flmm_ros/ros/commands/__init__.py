"""One command from its text to its answer: the queue, the worker thread, conversations."""
