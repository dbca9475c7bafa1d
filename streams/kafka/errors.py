"""Kafka's errors: aiokafka and kafka-python have one family each, without a common base, and who catches means both.

What wraps one library (the consumer, the producer, the look whether Kafka can be reached) catches that library's own.
"""

from aiokafka.errors import KafkaError as AsyncKafkaError

from streams.kafka.admin import KafkaError

KAFKA_ERRORS = (AsyncKafkaError, KafkaError)
"""For ``except``: whatever either library raises of itself."""
