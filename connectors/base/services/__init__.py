"""What several kinds share: clouds, leases of messages, listings of objects, signatures."""
