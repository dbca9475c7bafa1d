"""A shop's record, through its mapping and the gate: an event, an item or a refusal."""

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
        When made, for a mapping that says what is not understood.

    Examples
    --------
    >>> from streams.config import EventsConfig
    >>> mapping = MappingConfig(fields={"item_id": "upc", "title": "name"})
    >>> Mapped("items", mapping, Validator(0, EventsConfig())).outcome({"upc": "0960", "name": "Lamp"}).title
    'Lamp'
    """

    def __init__(self, kind: Literal["items", "events"], mapping: MappingConfig, gate: Validator) -> None:
        self.kind, self.rules, self.gate = kind, mapping.refuse, gate
        self.fields = mapping.compiled()

    def outcome(self, record: Record) -> AnyEvent | Item | Refusal:
        """What the record is; the first rule that holds refuses it."""
        for rule in self.rules:
            if rule.holds(record):
                return refuse(rule.reason, f"{rule.column} is {str(record.get(rule.column, ''))[:100]!r}")
        try:
            fields = self.fields(record)
        except ValueError as error:
            return refuse("invalid", str(error))
        return self.gate.item(fields) if self.kind == "items" else self.gate.event(fields)
