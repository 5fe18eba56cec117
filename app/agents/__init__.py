"""The edge: Faust's agents hand what they are given to the pumps."""
