"""What every command has: the terminal, the settings, and how mistakes are told.

Knows errors that a person can mend; nothing of single commands.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from liveshelf.settings import BadSettingsError, Settings, load
from streams.masking import masked

console = Console()
log = logging.getLogger(__name__)

KAFKA_WAIT_S = 30.0
KAFKA_AGAIN_S = 2.0
"""How long a role that is started waits for a broker that may be starting too, and how often it looks."""


@contextmanager
def told() -> Iterator[None]:
    """Turn what a person can mend into one red paragraph and exit code 1; what only we can mend stays a traceback."""
    from kafka.errors import KafkaError

    from liveshelf.ope import LogsError
    from liveshelf.stack.errors import StackError
    from models.store.errors import StoreError
    from models.training.examples import ExamplesError
    from models.weights import WeightsError
    from streams.adapters.mapping import MappingError
    from streams.lifecycle import last_words
    from streams.metrics_server import MetricsError
    from streams.reach import UnreachableError
    from streams.redis_connection import ERRORS
    from streams.skipping import SkipError

    known = (
        *(BadSettingsError, StackError, UnreachableError, MappingError, StoreError, ExamplesError),
        *(LogsError, WeightsError, MetricsError, SkipError),
    )
    try:
        with last_words(typer.Exit):
            yield
    except known as error:
        message = str(error)
    except KafkaError as error:
        message = f"Kafka does not answer as it should: {error}. Is it up (liveshelf up), and is the address right?"
    except ERRORS as error:
        message = f"Redis does not answer as it should: {error}. Is it up (liveshelf up), and is the address right?"
    else:
        return
    console.print(masked(message), style="red", highlight=False, markup=False)
    raise typer.Exit(1)


def reached(found: Settings, *, kafka: bool = True, redis: bool = True) -> Settings:
    """The same settings, once the servers that a command needs have answered.

    Raises
    ------
    UnreachableError
        Within seconds, with the reason.
    """
    from streams import kafka_reach, redis_reach

    if kafka:
        kafka_reach.reach(found.kafka)
    if redis:
        redis_reach.reach(found.redis)
    return found


def reached_by_role(found: Settings, *, kafka_wait_s: float = KAFKA_WAIT_S) -> Settings:
    """The same for a role, which does not end because a server is merely away: it waits for Redis by itself.

    Parameters
    ----------
    kafka_wait_s
        How long a broker that may be starting too is waited for; 0 goes on without it.

    Raises
    ------
    UnreachableError
        When a setting is wrong, or Kafka stays away.
    """
    from streams.reach import UnreachableError

    deadline = time.monotonic() + kafka_wait_s
    for redis in (False, True):
        while True:
            try:
                reached(found, kafka=not redis, redis=redis)
            except UnreachableError as error:
                needed = not redis and kafka_wait_s > 0
                if not error.passing or (needed and time.monotonic() > deadline):
                    raise
                log.warning("%s Waiting for it.", error)
                if needed:
                    time.sleep(KAFKA_AGAIN_S)
                    continue
            break
    return found


def settings(**groups: Any) -> Settings:
    """Settings from all sources, the command line's groups first."""
    return load(**groups)
