"""Kafka's errors: aiokafka and kafka-python have one family each, without a common base; most callers catch both.

Modules that wrap one library (the consumer, the producer, the connectivity check) catch that library's own.
"""

from aiokafka.errors import KafkaError as AsyncKafkaError

from streams.kafka.admin import KafkaError

KAFKA_ERRORS = (AsyncKafkaError, KafkaError)
"""For ``except``: the base errors of both libraries."""
