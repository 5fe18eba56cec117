"""What travels within the engine: values, and no rules."""
