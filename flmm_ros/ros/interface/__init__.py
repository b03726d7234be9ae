"""What the node promises: topics, parameters, error codes, diagnostics texts."""
