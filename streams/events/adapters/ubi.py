"""Reads OpenSearch *User Behavior Insights* (UBI): converts its bulk files, queries and events to our events.

A bulk file has two lines for each document: the action (``{"index": {"_index": "ubi_events", "_id": …}}``) and the
document. Files with documents only are read as well. UBI has no event id: the document's index and ``_id`` are used, or
its hash.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from streams.events.adapters.documents import parsed
from streams.events.adapters.gate import Entry, Validator, unread
from streams.events.adapters.mapping import MappingConfig, MappingError
from streams.events.adapters.source import Line, Source
from streams.events.decode import Refusal, refuse
from streams.events.moments import MomentConfig
from streams.events.schema import EVENT_TYPES, AnyEvent

ACTIONS = {
    "search": "search",
    "on_search": "search",
    "impression": "impression",
    "click": "click",
    "item_click": "click",
    "product_click": "click",
    "view_item": "read",
    "product_view": "read",
    "add_to_cart": "cart",
    "purchase": "purchase",
    "buy": "purchase",
}
"""UBI does not fix action names; these are the ones in its specification and samples. A mapping can add more."""

_BULK = {"index", "create", "update", "delete"}
_SURFACE = "search"


def is_action(record: Mapping[str, Any]) -> bool:
    """Whether an object is the action line of a bulk file.

    Examples
    --------
    >>> is_action({"index": {"_index": "ubi_events", "_id": "1"}}), is_action({"action_name": "click"})
    (True, False)
    """
    name, value = next(iter(record.items()), ("", None))
    return len(record) == 1 and name in _BULK and isinstance(value, dict)


class Ubi:
    """Turns UBI documents into events."""

    def __init__(self, mapping: MappingConfig, validator: Validator) -> None:
        self.actions = ACTIONS | mapping.actions
        kinds = {str(kind.__struct_config__.tag) for kind in EVENT_TYPES}
        if unknown := sorted(set(self.actions.values()) - kinds):
            raise MappingError(f"no such event: {', '.join(unknown)}; there are {', '.join(sorted(kinds))}")
        self.validator = validator
        zoned = (
            mapping.ts
            if mapping.ts.zone
            else MomentConfig(format=mapping.ts.format, zone=validator.config.timezone or "UTC")
        )
        self.moment = zoned.reader(validator.config, validator.notes.add)

    def read(self, source: Source) -> Iterator[Entry]:
        """One entry for each document of a file."""
        return self.entries(source.lines())

    def entries(self, lines: Iterable[Line]) -> Iterator[Entry]:
        """One entry for each document; action lines give no entries."""
        named: str | None = None
        for line in lines:
            if not line.complete:
                yield unread(line, "oversized", f"the line is longer than {len(line.raw)} bytes")
                continue
            document = parsed(line)
            if isinstance(document, Refusal):
                yield Entry(line, document)
            elif is_action(document):
                target = next(iter(document.values()))
                named = f"{target.get('_index', '')}-{target['_id']}" if target.get("_id") else None
                continue
            else:
                yield Entry(line, self.outcome(document, named or _hash(line.raw, 16)))
            named = None

    def outcome(self, document: Mapping[str, Any], event_id: str) -> AnyEvent | Refusal:
        """The event of a document from ``ubi_queries`` or ``ubi_events``.

        Examples
        --------
        >>> from streams.config import EventsConfig
        >>> ubi = Ubi(MappingConfig(), Validator(2_000_000_000_000, EventsConfig()))
        >>> query = {"query_id": "q", "client_id": "c", "user_query": "tv", "timestamp": "2024-12-10T00:01:29.378Z"}
        >>> ubi.outcome(query, "1").query
        'tv'
        >>> ubi.outcome({"action_name": "page_exit"}, "2")
        Refusal(reason='unknown_action', detail="no event is known for the action 'page_exit'")
        """
        action = document.get("action_name")
        kind = "search" if action is None and "user_query" in document else self.actions.get(str(action))
        if kind is None:
            return refuse("unknown_action", f"no event is known for the action {str(action)[:100]!r}")
        attributes = _object(document.get("event_attributes"))
        position = _object(attributes.get("position")).get("ordinal")
        item_id = _object(attributes.get("object")).get("object_id")
        query_id = document.get("query_id") or None
        try:
            ts = self.moment(document.get("timestamp"))
        except ValueError as error:
            return refuse("invalid", str(error))
        fields: dict[str, Any] = {"type": kind, "event_id": event_id, "ts": ts}
        fields["user_id"] = document.get("user_id") or document.get("client_id") or None
        fields["session_id"] = document.get("session_id") or attributes.get("session_id") or None
        if kind == "search":
            query = document.get("user_query") or document.get("message")
            if query_id:
                # A query's record and the event about it are one search; some shops reuse the id for the next query.
                fields["event_id"] = f"search-{query_id}-{_hash(str(query).encode(), 4)}"
            fields |= {"query": query, "query_id": query_id}
        elif kind == "impression":
            fields |= {"shelf_id": query_id, "surface": _SURFACE}
            fields["items"] = [{"item_id": item_id, "position": position}]
        else:
            fields |= {"item_id": item_id, "shelf_id": query_id, "position": position}
        return self.validator.event(fields)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _hash(content: bytes, size: int) -> str:
    return hashlib.blake2b(content, digest_size=size).hexdigest()
