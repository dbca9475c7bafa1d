"""The connection's settings in each Kafka library's form: addresses, TLS and SASL."""

import ssl
from typing import Any

import faust

from streams.config import KafkaConfig


def tls(kafka: KafkaConfig) -> ssl.SSLContext | None:
    """A verifying TLS context where the settings ask for TLS."""
    if not kafka.security_protocol.endswith("SSL"):
        return None
    context = ssl.create_default_context(cafile=kafka.ca_file)
    if kafka.cert_file is not None:
        context.load_cert_chain(kafka.cert_file, kafka.key_file)
    return context


def aiokafka_client(kafka: KafkaConfig) -> dict[str, Any]:
    """Keyword arguments for aiokafka's producer and consumer.

    Examples
    --------
    >>> aiokafka_client(KafkaConfig())["bootstrap_servers"]
    ['127.0.0.1:9092']
    """
    known = {name: value for name, value in kafka.client().items() if not name.startswith("ssl_")}
    return known | {"ssl_context": tls(kafka)}


def faust_credentials(kafka: KafkaConfig) -> Any:
    """Faust's credentials, None for plain text."""
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value() if kafka.password else None,
            mechanism=kafka.sasl_mechanism,
            ssl_context=tls(kafka),
        )
    context = tls(kafka)
    return faust.SSLCredentials(context=context) if context else None
