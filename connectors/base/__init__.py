"""What all connectors share: the frame that reads, publishes, waits for the broker and only then acknowledges."""
