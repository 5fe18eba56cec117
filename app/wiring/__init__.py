"""The only place that constructs and connects parts; one module per role."""
