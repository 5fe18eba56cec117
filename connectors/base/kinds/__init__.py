"""Which kinds there are, what they say of themselves, and the sources that files declare of them."""
