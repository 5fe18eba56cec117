"""HTTP: events in; workflows, runs, dead letters, health and metrics out."""
