"""Programs to read and to copy; examples/README.md says what each shows."""
