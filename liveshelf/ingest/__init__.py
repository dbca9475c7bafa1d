"""A shop's files on their way to Kafka: imports and replays."""
