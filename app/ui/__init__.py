"""What people look at: the read model. Pages come on top of it."""
