"""Writing alerts to their topic and reading them back; a header names the process that reported one.

Any role may write there, so an unreadable record is skipped with a log line, never an error.
"""

from collections.abc import Awaitable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from evaluator.monitoring.alerts.alert import Alert, decoder, encoder
from streams.clock import not_ahead
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka.guard import Guard
from streams.kafka.record import Send
from streams.kafka.topic_reader import contents
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

MAX_BYTES = 65_536
"""Most bytes of an alert on the topic, and so in a webhook's message."""

SOURCE = "source"
"""The header that names the process which reports an alert; the name stays after a restart."""

LONGEST_SOURCE = 256


def publish(send: Send, topic: str, alert: Alert, source: str) -> Awaitable[object]:
    """Write an alert to the topic; the returned awaitable is done once the broker has it."""
    return send(topic, alert.key.encode("utf-8", "replace"), fitted(alert), [(SOURCE, source.encode())])


def fitted(alert: Alert) -> bytes:
    """An alert's JSON; if it is too large, without the largest parts of its evidence.

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


class PublishedAlert(NamedTuple):
    """An alert, when it was reported (epoch ms), and by whom: the arguments of `AlertsView.update`."""

    alert: Alert
    at: int
    source: str


def parse(message: Any, came_ms: int) -> PublishedAlert:
    """The alert of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When it is no alert, or one from the future.
    """
    alert = decoder.decode(message.value or b"")
    not_ahead(max(alert.since, alert.until or 0), came_ms, "the alert")
    source = dict(message.headers or ()).get(SOURCE) or b""
    return PublishedAlert(alert, came_ms, source[:LONGEST_SOURCE].decode("utf-8", "replace"))


def guard(meter: Meter | None = None) -> Guard[PublishedAlert]:
    """The guard of every reader of alerts."""
    return Guard("alerts", parse, meter)


def read(kafka: KafkaConfig, config: TopicsConfig) -> Iterator[PublishedAlert]:
    """All alerts that the topic holds now, oldest first in each partition."""
    with closing(contents(StreamsConfig(kafka=kafka, topics=config), Topics(config.prefix).alerts)) as messages:
        for _, published in guard().values(messages):
            yield published
