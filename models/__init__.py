"""Text in, scores out: BERT encoders and the scorers built on them. Knows nothing of Kafka or Redis."""
