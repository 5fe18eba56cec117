"""The service: everything between the command line and Kafka."""
