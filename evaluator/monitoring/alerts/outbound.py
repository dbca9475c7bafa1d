"""Sending alerts: reads the topic beside the evaluator's join, and posts to Alertmanager and to a webhook.

Neither receiver can delay the join: each has its own attempts, in bounded time and memory. It is logged once when a
receiver is away and once when it is back. Alertmanager gets a state, so every evaluator reads the whole topic and sends
it. The webhook gets events, so one consumer group reads them and commits what was delivered.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
from aiokafka import TopicPartition

from evaluator.monitoring.alerts import alertmanager, webhook
from evaluator.monitoring.alerts.alert import AlertsView
from evaluator.monitoring.alerts.config import AlertsConfig
from evaluator.monitoring.alerts.delivery import Answer, _beginning
from evaluator.monitoring.alerts.topic import guard
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events.decode import Refusal
from streams.kafka.consumer import Consumer
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.topics import Topics
from streams.runtime.tasks import Backoff, run_forever
from streams.telemetry.meter import Meter


class Post:
    """Posts JSON, as an asynchronous context manager.

    Redirects are not followed: the settings have to name a receiver that moved.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, headers={"User-Agent": "liveshelf"})

    async def __aenter__(self) -> "Post":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request, and read no more of the answer than the log needs."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", url, content=body, headers=sent) as got,
            ):
                detail = b"" if got.is_success else await _beginning(got)
                words = f"{got.status_code} {got.reason_phrase} {detail.decode('utf-8', 'replace')}"
                return Answer(got.status_code, got.headers.get("Retry-After"), words.strip())
        except TimeoutError:
            return Answer(None, detail=f"no answer within {self._timeout_s:g} s")
        except httpx.HTTPError as error:
            return Answer(None, detail=f"{type(error).__name__}: {error}")


class Receiver:
    """A receiver of messages over HTTP.

    Parameters
    ----------
    name
        Name in the log, and in the counts ``{name}.delivered``, ``{name}.again`` and ``{name}.refused``.
    longest_s
        Longest wait between two attempts, unless the receiver asks for more.
    """

    def __init__(self, name: str, post: Post, longest_s: float, meter: Meter) -> None:
        self.name, self._post, self._meter = name, post, meter
        self._backoff = Backoff(longest_s)
        self._away = False

    async def send(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> float | None:
        """Send once; returns None when the message is done, else the seconds to wait before the next attempt."""
        answer = await self._post(url, body, headers)
        self._meter.count(f"{self.name}.{answer.verdict}")
        if answer.verdict == "again":
            if not self._away:
                log.warning("%s does not take alerts now (%s): trying until it does", self.name, answer.detail)
            self._away = True
            return self._backoff.next(answer.asked_s(time.time()))
        if answer.verdict == "refused":
            log.error("%s refuses an alert, which is given up: %s", self.name, answer.detail)
        elif self._away:
            log.warning("%s takes alerts again", self.name)
        self._away = False
        self._backoff.reset()
        return None


log = logging.getLogger(__name__)
READ_MS = 1_000

NO_LIMIT_MS = 2**31 - 1
"""No limit between polls, because a receiver may be away for days. A dead consumer is detected by its heartbeat."""


class Outbound:
    """Delivers alerts for as long as it runs.

    Parameters
    ----------
    streams, config
        Settings of Kafka, and of the receivers.
    group
        Consumer group of the webhook's deliveries.
    meter
        Counts attempts by their result.
    """

    def __init__(self, streams: StreamsConfig, config: AlertsConfig, group: str, meter: Meter) -> None:
        self.streams, self.config, self.group, self.meter = streams, config, group, meter
        self._guard = guard(meter)
        self.topic = Topics(streams.topics.prefix).alerts
        self.link = str(config.link) if config.link else None

    async def run(self) -> None:
        """Send to the receivers of the settings, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self.config.alertmanager_url is not None:
                url = str(self.config.alertmanager_url.get_secret_value()).rstrip("/")
                sending = self._send_forever("alertmanager", None, f"{url}/{alertmanager.PATH}", self._send_state)
                group.create_task(run_forever(sending, "sending to Alertmanager"))
            if self.config.webhook_url is not None:
                url = str(self.config.webhook_url.get_secret_value())
                sending = self._send_forever("webhook", self.group, url, self._send_each)
                group.create_task(run_forever(sending, "sending to the webhook"))

    async def _send_forever(
        self, name: str, group: str | None, url: str, send: Callable[[Consumer, Receiver, str], Awaitable[None]]
    ) -> None:
        """Start again after every error, so that the join is not affected."""
        backoff = Backoff(self.config.longest_wait_s)
        while True:
            began = time.monotonic()
            try:
                async with Post(self.config.timeout_s) as post, self._reading(group) as consumer:
                    await send(consumer, Receiver(name, post, self.config.longest_wait_s, self.meter), url)
            except KAFKA_ERRORS as error:
                log.warning("alerts for the %s cannot be read: %s", name, error)
            except Exception:
                log.exception("sending alerts to the %s failed; starting again", name)
            if time.monotonic() - began > self.config.longest_wait_s:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    @asynccontextmanager
    async def _reading(self, group: str | None) -> AsyncIterator[Consumer]:
        consumer = Consumer(self.streams, self.topic, group_id=group, max_poll_interval_ms=NO_LIMIT_MS)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def _send_state(self, consumer: Consumer, receiver: Receiver, url: str) -> None:
        """Keep the firing alerts, and send all of them at each change and at the interval of the settings."""
        state = alertmanager.AlertmanagerState(int(self.config.resend_s * 1000), self.link, self.config.language)
        ends = await consumer.end_offsets(consumer.assignment())
        due, waiting = 0.0, False
        while True:
            for messages in (await consumer.getmany(timeout_ms=READ_MS)).values():
                for message in messages:
                    if self._guard.hand(message, lambda alert: state.update(*alert)):
                        due = due if waiting else 0.0
            # The firing alerts are known only after reading to where the topic ended at the start.
            if not consumer.passed(ends) or time.monotonic() < due or not (alerts := state.get(wall_ms())):
                continue
            wait = await receiver.send(url, alertmanager.body(alerts))
            waiting = wait is not None
            due = time.monotonic() + (self.config.resend_s if wait is None else wait)
            if wait is None:
                state.sent()

    async def _send_each(self, consumer: Consumer, receiver: Receiver, url: str) -> None:
        """Deliver the news, one alert after the other, and commit each record once it is done."""
        assert self.config.webhook_secret is not None
        secret = self.config.webhook_secret.get_secret_value()
        view, read = AlertsView(), dict[TopicPartition, int]()
        while True:
            message = await consumer.getone()
            partition = TopicPartition(message.topic, message.partition)
            if read.get(partition) != message.offset:  # the first one, or another evaluator had the partition
                view = await self._view_before(partition, message.offset)
            read[partition] = message.offset + 1
            one = self._guard(message)
            if not isinstance(one, Refusal) and (news := view.update(*one)) is not None:
                id = webhook.message_id(message.topic, message.partition, message.offset, message.value)
                wait: float | None = 0.0
                while wait is not None and partition in consumer.assignment():
                    await asyncio.sleep(wait)
                    signed = webhook.request(news, id, secret, int(time.time()), self.link, self.config.language)
                    wait = await receiver.send(url, signed.body, signed.headers)
                if wait is not None:
                    continue  # another evaluator has the partition now, and begins where this one committed
            try:
                await consumer.commit({partition: message.offset + 1})
            except KAFKA_ERRORS as error:
                log.warning("a delivered alert could not be committed and may come again: %s", error)

    async def _view_before(self, partition: TopicPartition, end: int) -> AlertsView:
        """The alerts as they were before an offset."""
        view = AlertsView()
        async with self._reading(None) as history:
            while not history.passed({partition: end}):
                messages = (await history.getmany(partition, timeout_ms=READ_MS)).get(partition, ())
                for message in messages:
                    if message.offset < end:
                        self._guard.hand(message, lambda alert: view.update(*alert))
        return view
