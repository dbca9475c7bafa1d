"""Reads Parquet files as records, a thousand rows at a time; needs pyarrow, of the extra ``parquet``.

Knows columns; nothing of what they mean.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from streams.events.adapters.source import Line, Source, SourceError

ROWS = 1_000


def records(source: Source) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each row, its number, and its values as JSON has them.

    Raises
    ------
    SourceError
        When pyarrow is not installed, or the file is damaged.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise SourceError(f'{source.path} is Parquet: pip install "liveshelf[parquet]"') from None
    number = 0
    try:
        for batch in ParquetFile(source.binary).iter_batches(ROWS):
            for row in batch.to_pylist():
                number += 1
                record = {name: _plain(value) for name, value in row.items()}
                yield Line(number, msgspec.json.encode(record)), record
    except (ArrowException, OSError) as error:
        raise SourceError(f"{source.path} is damaged and cannot be read beyond row {number:,}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str | int | float | bool | None) else str(value)
