"""Alerts on their topic, and read back from it; a header says who told one.

Any role may write there, so what cannot be read is passed over with a log line, never an error.
"""

import logging
from collections.abc import Awaitable, Iterator
from typing import Any, NamedTuple

import msgspec

from evaluator.alerts.alert import Alert, decoder, encoder
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.contents import contents
from streams.record import Send
from streams.topics import Topics

log = logging.getLogger(__name__)

MAX_BYTES = 65_536
"""Of an alert on the topic, and so in a webhook's message."""

SOURCE = "source"
"""The header that names the process which tells an alert, the same after a restart."""


def tell(send: Send, topic: str, alert: Alert, source: str) -> Awaitable[object]:
    """Write an alert to the topic; what it returns is done once the broker has it."""
    return send(topic, alert.key.encode("utf-8", "replace"), fitted(alert), [(SOURCE, source.encode())])


def fitted(alert: Alert) -> bytes:
    """An alert's JSON; where its evidence is large, without the largest parts of it.

    Examples
    --------
    >>> drop = Alert(name="drop", labels={}, state="firing", summary="", since=5,
    ...     evidence={"rate": 0.1, "words": "x" * MAX_BYTES, "more": "y" * 1_000})
    >>> list(decoder.decode(fitted(drop)).evidence)
    ['rate', 'more']
    """
    value, evidence = encoder.encode(alert), dict(alert.evidence)
    for name in sorted(evidence, key=lambda name: len(encoder.encode(evidence[name])), reverse=True):
        if len(value) <= MAX_BYTES:
            break
        alert = msgspec.structs.replace(alert, evidence={k: v for k, v in alert.evidence.items() if k != name})
        value = encoder.encode(alert)
    return value


class Told(NamedTuple):
    """An alert, when it was told (epoch ms), and by whom: what `Standing.update` takes."""

    alert: Alert
    at: int
    source: str


def parse(message: Any) -> Told | None:
    """What a consumed Kafka message tells; None for what is no alert."""
    try:
        alert = decoder.decode(message.value or b"")
    except msgspec.MsgspecError as error:
        log.error("%s[%d]@%d is no alert: %s", message.topic, message.partition, message.offset, error)
        return None
    return Told(alert, message.timestamp, dict(message.headers or ()).get(SOURCE, b"").decode("utf-8", "replace"))


def read(kafka: KafkaConfig, config: TopicsConfig) -> Iterator[Told]:
    """All that the topic holds now, oldest first in each partition."""
    messages = contents(StreamsConfig(kafka=kafka, topics=config), Topics(config.prefix).alerts)
    return (told for message in messages if (told := parse(message)) is not None)
