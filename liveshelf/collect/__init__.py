"""Events and items over HTTP to Kafka, and shelves from Redis over HTTP, for those who reach neither."""
