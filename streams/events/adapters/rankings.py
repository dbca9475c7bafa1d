"""Reads logged result lists with one row for each result: each list becomes a search, an impression and its clicks.

Such logs often have no times, so times are assigned: list ``n`` was searched at ``start + n * step_s`` and seen a tenth
of a step later. Its clicks are spread over the rest of the step, in the order of their positions.
"""

from collections.abc import Iterable, Iterator
from itertools import count, groupby
from typing import Any

import msgspec

from streams.events.adapters.expression import Record
from streams.events.adapters.gate import Entry, Validator, expanded
from streams.events.adapters.mapping import MappingConfig, MappingError, RankingsConfig
from streams.events.adapters.source import Line
from streams.events.decode import Refusal, refuse
from streams.events.moments import MomentConfig
from streams.events.schema import AnyEvent, Item, Shown

NEEDED = {"session_id", "query", "item_id", "position"}
SURFACE = "search"
_TRUE = {"true", "1", "yes", "y", "t"}


class Rankings:
    """Turns rows into lists and lists into events, one list at a time. Rows of a list must be adjacent.

    A row without a valid item and position is refused; the rest of its list still counts.
    """

    def __init__(self, mapping: MappingConfig, config: RankingsConfig, validator: Validator) -> None:
        if missing := sorted(NEEDED - set(mapping.fields)):
            raise MappingError(f"rankings need the fields {', '.join(missing)}")
        self.config, self.validator = config, validator
        self.fields = mapping.compiled(validator.config, validator.notes.add, flat=True)
        try:
            self.start_ms = MomentConfig(zone="UTC").reader()(config.start)
        except ValueError as error:
            raise MappingError(f"rankings' start: {error}") from error
        self.step_ms = config.step_s * 1000

    def read(self, rows: Iterable[Entry | tuple[Line, Record]]) -> Iterator[Entry]:
        """All entries of the rows."""
        number = count()
        for _, group in groupby(rows, self._list):
            shown: list[tuple[Line, dict[str, Any], bool]] = []
            for row in group:
                if isinstance(row, Entry):
                    yield row
                    continue
                checked = self._row(row[1])
                if isinstance(checked, Refusal):
                    yield Entry(row[0], checked)
                else:
                    shown.append((row[0], *checked))
            if shown:
                yield from expanded(shown[0][0], len(shown), self._events(next(number), shown))

    def _list(self, row: Entry | tuple[Line, Record]) -> tuple[Any, ...]:
        return () if isinstance(row, Entry) else tuple(row[1].get(name) for name in self.config.by)

    def _row(self, record: Record) -> tuple[dict[str, Any], bool] | Refusal:
        try:
            fields = self.fields(record)
            fields["shown"] = msgspec.convert(
                {"item_id": fields.get("item_id"), "position": fields.get("position")}, Shown, strict=False
            )
        except ValueError as error:  # msgspec's ValidationError is one
            return refuse("invalid", str(error))
        return fields, str(record.get(self.config.clicked, "")).strip().lower() in _TRUE

    def _events(
        self, number: int, rows: list[tuple[Line, dict[str, Any], bool]]
    ) -> Iterator[AnyEvent | Item | Refusal]:
        first = rows[0][1]
        name = f"{first.get('session_id')}-{number}"
        start = self.start_ms + number * self.step_ms
        who: dict[str, Any] = {key: first[key] for key in ("session_id", "user_id") if key in first}
        yield self.validator.event(
            who
            | {"type": "search", "event_id": f"{name}-search", "ts": round(start)}
            | {"query": first.get("query"), "query_id": name}
        )
        yield self.validator.event(
            who
            | {"type": "impression", "event_id": f"{name}-shown", "ts": round(start + self.step_ms / 10)}
            | {"shelf_id": name, "surface": SURFACE}
            | {"items": [{"item_id": row["shown"].item_id, "position": row["shown"].position} for _, row, _ in rows]}
        )
        clicked = sorted((row["shown"] for _, row, click in rows if click), key=lambda shown: shown.position)
        for place, shown in enumerate(clicked, start=1):
            at = start + self.step_ms / 10 + 0.9 * self.step_ms * place / (len(clicked) + 1)
            yield self.validator.event(
                who
                | {"type": "click", "event_id": f"{name}-click-{place}", "ts": round(at)}
                | {"item_id": shown.item_id, "shelf_id": name, "position": shown.position}
            )
