"""What every command has: the terminal, the settings, and how mistakes are told.

Knows errors that a person can mend; nothing of single commands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from liveshelf.settings import BadSettingsError, Settings, load

console = Console()


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
    from streams.metrics_server import MetricsError
    from streams.redis_connection import ERRORS

    known = BadSettingsError, StackError, MappingError, StoreError, ExamplesError, LogsError, WeightsError, MetricsError
    try:
        yield
    except known as error:
        message = str(error)
    except KafkaError as error:
        message = f"Kafka does not answer as it should: {error}. Is it up (liveshelf up), and is the address right?"
    except ERRORS as error:
        message = f"Redis does not answer as it should: {error}. Is it up (liveshelf up), and is the address right?"
    else:
        return
    console.print(message, style="red", highlight=False, markup=False)
    raise typer.Exit(1)


def settings(**groups: Any) -> Settings:
    """Settings from all sources, the command line's groups first."""
    return load(**groups)
