"""A log in which nothing repeats itself, and no secret stands."""

import io
import logging

import pytest

from streams.telemetry.logs import FIRST, KINDS, Handler, Kind, Repeats, not_idle


class Log:
    """A handler with a clock to turn, and what it wrote."""

    def __init__(self) -> None:
        self.now, self.out = 0.0, io.StringIO()
        self.handler = Handler(self.out, lambda: self.now)

    def say(self, message: str, *arguments: object, logger: str = "a", level: int = logging.ERROR) -> None:
        self.handler.handle(logging.LogRecord(logger, level, "", 0, message, arguments, None))

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


def test_what_repeats_is_written_a_few_times_and_then_counted() -> None:
    log = Log()
    for number in range(1_000):
        log.say("no leader for %s", f"topic-{number}")
        log.say(f"attempt {number} of x", logger="b")
    log.say("no leader for %s", "x", level=logging.WARNING)
    assert len(log.lines) == 2 * FIRST + 1
    log.now = 31.0
    log.say("something else")
    assert len(log.lines) == 2 * FIRST + 4
    assert "… 995 more like this in the last 30 s: no leader for topic-999" in log.lines[-3]
    assert "… 995 more like this in the last 30 s: attempt 999 of x" in log.lines[-2]
    log.say("no leader for %s", "y")
    assert "no leader for y" in log.lines[-1], "it begins anew"


def test_what_was_left_out_is_told_at_the_end() -> None:
    log = Log()
    for _ in range(8):
        log.say("again")
    log.handler.close()
    assert log.lines[-1].endswith("… 3 more like this in the last 30 s: again")


def test_what_was_left_out_is_told_with_its_arguments_and_without_its_secrets() -> None:
    log = Log()
    for _ in range(FIRST + 1):
        log.say("%s Waiting for it.", "redis://me:hunter2@h/0 is away.")
        log.say("%d of it", "no number", logger="b")
    log.handler.close()
    assert log.lines[-2].endswith("… 1 more like this in the last 30 s: redis://***@h/0 is away. Waiting for it.")
    assert log.lines[-1].endswith("… 1 more like this in the last 30 s: %d of it")


def test_any_number_of_kinds_takes_bounded_memory_and_few_lines() -> None:
    repeats = Repeats()
    kinds = (Kind("a", 40, f"{chr(97 + n % 26)}{n}") for n in range(100_000))
    written = sum(repeats.update(kind, 0.0, lambda: "x") for kind in kinds)
    assert written <= KINDS + FIRST and len(repeats._seen) <= KINDS + 1
    assert sum(count for _, count, _ in repeats.due(100.0)) == 100_000 - written


def test_secrets_are_masked_in_messages_arguments_and_tracebacks() -> None:
    log = Log()
    log.say("cannot reach %s", "redis://me:hunter2@h/0?password=x1y2")
    try:
        raise ValueError("s3://KEY:hunter2@bucket")
    except ValueError as error:
        log.handler.handle(logging.LogRecord("a", 40, "", 0, "it broke", (), (type(error), error, error.__traceback__)))
    assert "hunter2" not in log.out.getvalue() and "x1y2" not in log.out.getvalue()
    assert "Traceback" in log.out.getvalue()


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Aiokafka has not sent fetch request for %r since start (started %s)", False),
        ("Aiokafka stopped fetching from %r (last done %s)", False),
        ("Stream stopped processing, or is slow for %r (last inbound %s).", True),
    ],
)
def test_a_quiet_topic_is_no_error(message: str, kept: bool) -> None:
    assert not_idle(logging.LogRecord("faust", 40, "", 0, message, (), None)) is kept
