"""Alerts on their way out: the topic is read beside the evaluator's join, and sent to Alertmanager and a webhook.

Neither receiver can hold up the join, whatever it answers: each has its own tries, in bounded time and memory, and it
is logged once when one is away and once when it is back. Alertmanager is sent a state, so every evaluator reads the
whole topic and sends it; the webhook is sent events, so one consumer group reads them and commits what was delivered.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
from aiokafka import TopicPartition

from evaluator.monitoring.alerts import alertmanager, webhook
from evaluator.monitoring.alerts.active import AlertsView
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
    """Posts JSON, as an asynchronous context.

    Redirects are not followed: a receiver that moved is named in the settings, not found on the way.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, headers={"User-Agent": "liveshelf"})

    async def __aenter__(self) -> "Post":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send, and read no more of the answer than the log needs."""
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
    """Somebody who takes messages over HTTP.

    Parameters
    ----------
    name
        For the log, and of the counts ``{name}.delivered``, ``{name}.again`` and ``{name}.refused``.
    longest_s
        The longest wait between two tries, unless the receiver asks for more.
    """

    def __init__(self, name: str, post: Post, longest_s: float, meter: Meter) -> None:
        self.name, self._post, self._meter = name, post, meter
        self._backoff = Backoff(longest_s)
        self._away = False

    async def tell(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> float | None:
        """Try once; None when the message is done with, else the seconds to wait before the next try."""
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
"""A receiver may be away for days: waiting for it is no sign of a dead consumer, whose heartbeat would stop."""


class Outbound:
    """Delivers alerts for as long as it runs.

    Parameters
    ----------
    streams, config
        Where Kafka is, and who is to be told.
    group
        Consumer group of the webhook's deliveries.
    meter
        Counts tries by what came of them.
    """

    def __init__(self, streams: StreamsConfig, config: AlertsConfig, group: str, meter: Meter) -> None:
        self.streams, self.config, self.group, self.meter = streams, config, group, meter
        self._guard = guard(meter)
        self.topic = Topics(streams.topics.prefix).alerts
        self.link = str(config.link) if config.link else None

    async def run(self) -> None:
        """Tell those that the settings name, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self.config.alertmanager_url is not None:
                url = str(self.config.alertmanager_url.get_secret_value()).rstrip("/")
                telling = self._telling("alertmanager", None, f"{url}/{alertmanager.PATH}", self._tell_state)
                group.create_task(run_forever(telling, "telling Alertmanager"))
            if self.config.webhook_url is not None:
                url = str(self.config.webhook_url.get_secret_value())
                telling = self._telling("webhook", self.group, url, self._tell_each)
                group.create_task(run_forever(telling, "telling the webhook"))

    async def _telling(
        self, name: str, group: str | None, url: str, tell: Callable[[Consumer, Receiver, str], Awaitable[None]]
    ) -> None:
        """Begin again whenever telling breaks; it must not take the join along."""
        backoff = Backoff(self.config.longest_wait_s)
        while True:
            began = time.monotonic()
            try:
                async with Post(self.config.timeout_s) as post, self._reading(group) as consumer:
                    await tell(consumer, Receiver(name, post, self.config.longest_wait_s, self.meter), url)
            except KAFKA_ERRORS as error:
                log.warning("alerts for the %s cannot be read: %s", name, error)
            except Exception:
                log.exception("telling alerts to the %s broke; beginning again", name)
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

    async def _tell_state(self, consumer: Consumer, receiver: Receiver, url: str) -> None:
        """Keep the book of what fires, and tell all of it when it changes and every so often."""
        bulletin = alertmanager.Bulletin(int(self.config.resend_s * 1000), self.link)
        ends = await consumer.end_offsets(consumer.assignment())
        due, waiting = 0.0, False
        while True:
            for messages in (await consumer.getmany(timeout_ms=READ_MS)).values():
                for message in messages:
                    if self._guard.hand(message, lambda told: bulletin.update(*told)):
                        due = due if waiting else 0.0
            # What fires is known only where the topic ended when reading began.
            if not consumer.passed(ends) or time.monotonic() < due or not (told := bulletin.get(wall_ms())):
                continue
            wait = await receiver.tell(url, alertmanager.body(told))
            waiting = wait is not None
            due = time.monotonic() + (self.config.resend_s if wait is None else wait)
            if wait is None:
                bulletin.sent()

    async def _tell_each(self, consumer: Consumer, receiver: Receiver, url: str) -> None:
        """Deliver what is news, one alert after the other, and commit each record once it is done with."""
        assert self.config.webhook_secret is not None
        secret = self.config.webhook_secret.get_secret_value()
        standing, read = AlertsView(), dict[TopicPartition, int]()
        while True:
            message = await consumer.getone()
            partition = TopicPartition(message.topic, message.partition)
            if read.get(partition) != message.offset:  # the first one, or another evaluator had the partition
                standing = await self._standing(partition, message.offset)
            read[partition] = message.offset + 1
            one = self._guard(message)
            if not isinstance(one, Refusal) and (news := standing.update(*one)) is not None:
                id = webhook.message_id(message.topic, message.partition, message.offset, message.value)
                wait: float | None = 0.0
                while wait is not None and partition in consumer.assignment():
                    await asyncio.sleep(wait)
                    signed = webhook.request(news, id, secret, int(time.time()), self.link)
                    wait = await receiver.tell(url, signed.body, signed.headers)
                if wait is not None:
                    continue  # another evaluator has the partition now, and begins where this one committed
            try:
                await consumer.commit({partition: message.offset + 1})
            except KAFKA_ERRORS as error:
                log.warning("a delivered alert could not be committed and may come again: %s", error)

    async def _standing(self, partition: TopicPartition, end: int) -> AlertsView:
        """What fired before an offset."""
        standing = AlertsView()
        async with self._reading(None) as history:
            while not history.passed({partition: end}):
                messages = (await history.getmany(partition, timeout_ms=READ_MS)).get(partition, ())
                for message in messages:
                    if message.offset < end:
                        self._guard.hand(message, lambda told: standing.update(*told))
        return standing
