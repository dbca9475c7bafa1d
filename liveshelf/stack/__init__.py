"""The local stack: real Kafka, real Redis and Liveshelf's own roles, started and restarted by one supervisor."""
