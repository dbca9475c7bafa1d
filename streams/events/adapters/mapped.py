"""Converts a shop's record by its mapping and validates it: gives an event, an item or a refusal."""

from typing import Literal

from streams.events.adapters.gate import Validator
from streams.events.adapters.mapping import MappingConfig, Record
from streams.events.decode import Refusal, refuse
from streams.events.schema import AnyEvent, Item


class Mapped:
    """Applies one mapping to record after record.

    Raises
    ------
    MappingError
        On construction, for an invalid mapping.

    Examples
    --------
    >>> from streams.config import EventsConfig
    >>> mapping = MappingConfig(fields={"item_id": "upc", "title": "name"})
    >>> Mapped("items", mapping, Validator(0, EventsConfig())).outcome({"upc": "0960", "name": "Lamp"}).title
    'Lamp'
    """

    def __init__(self, kind: Literal["items", "events"], mapping: MappingConfig, validator: Validator) -> None:
        self.kind, self.rules, self.validator = kind, mapping.refuse, validator
        self.fields = mapping.compiled()

    def outcome(self, record: Record) -> AnyEvent | Item | Refusal:
        """The event or item of a record, or a refusal; the first rule that matches refuses it."""
        for rule in self.rules:
            if rule.holds(record):
                return refuse(rule.reason, f"{rule.column} is {str(record.get(rule.column, ''))[:100]!r}")
        try:
            fields = self.fields(record)
        except ValueError as error:
            return refuse("invalid", str(error))
        return self.validator.item(fields) if self.kind == "items" else self.validator.event(fields)
