"""Steps: what a run asks for, how that goes on, and what it comes to."""
