"""The evaluator as it runs: Kafka and Redis around the pure parts."""
