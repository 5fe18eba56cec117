"""Everything that speaks to Kafka: clients, the fenced journal, Faust, and the embedded broker."""
