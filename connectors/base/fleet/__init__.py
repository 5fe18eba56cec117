"""Many sources in many processes: who owns which, positions under a fence, what is published and sent."""
