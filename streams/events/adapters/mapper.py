"""Makes events and items of a shop's records by a mapping; gives refusals and omissions for those that make none.

A record becomes an item or an event, or by the mapping's rules (``[[event]]``) several. Knows no files.
"""

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

from streams.events.adapters.expression import ExpressionError, Record, compiled
from streams.events.adapters.gate import Omission, Validator
from streams.events.adapters.mapping import EventRule, MappingConfig, MappingError, any_of
from streams.events.decode import Refusal, refuse
from streams.events.schema import AnyEvent, Item

Outcome = AnyEvent | Item | Refusal
Scope = ChainMap[str, Any]
REASON_LETTERS = 40
SHOWN = 200
"""The most items of one impression."""

LOOKED_AT = 2_000
"""The most elements of a list among which an impression's items are looked for."""


class Mapper:
    """Applies one mapping to record after record.

    Parameters
    ----------
    flat
        Whether records have no objects in them.

    Raises
    ------
    MappingError
        On construction, for an invalid mapping.

    Examples
    --------
    >>> from streams.config import EventsConfig
    >>> mapping = MappingConfig(fields={"item_id": "upc", "title": "name"})
    >>> mapper = Mapper("items", mapping, Validator(0, EventsConfig()), flat=True)
    >>> [item.title for item in mapper.outcomes({"upc": "0960", "name": "Lamp"})]
    ['Lamp']
    """

    def __init__(self, kind: str, mapping: MappingConfig, validator: Validator, *, flat: bool = False) -> None:
        self.kind, self.mapping, self.validator = kind, mapping, validator
        config, note = validator.config, validator.notes.add
        self.fields = mapping.compiled(config, note, flat=flat)
        try:
            self._rules = [
                (rule, compiled(rule.column, flat=flat), how)
                for how, rules in ((refuse, mapping.refuse), (Omission, mapping.skip))
                for rule in rules
            ]
            self._events = [_EventMaker(rule, mapping, validator) for rule in mapping.event]
        except ExpressionError as error:
            raise MappingError(str(error)) from error

    def outcomes(self, record: Record) -> Iterable[Outcome]:
        """The events or the item of a record; or why there is none."""
        ruled = self.ruled(record)
        if ruled is not None:
            return [ruled]
        if self._events:
            return self._by_rules(record)
        fields = self.of(record)
        return [fields if isinstance(fields, Refusal) else self.passed(fields)]

    def ruled(self, record: Record) -> Refusal | None:
        """The refusal or omission by the first of the mapping's rules that holds."""
        for rule, column, how in self._rules:
            value = column(record)
            if rule.holds(value):
                return how(
                    rule.reason, f"{rule.column.removesuffix('?')} is {str('' if value is None else value)[:100]!r}"
                )
        return None

    def of(self, record: Record) -> dict[str, Any] | Refusal:
        """Our fields of a record. A value of an item's optional field that cannot be read is left out, and noted."""
        try:
            return self.fields(record)
        except (ValueError, OverflowError) as error:
            return refuse("invalid", str(error))

    def passed(self, fields: dict[str, Any]) -> Outcome:
        """The item or event of our fields."""
        return self.validator.item(fields) if self.kind == "items" else self.validator.event(fields)

    def _by_rules(self, record: Record) -> Iterator[Outcome]:
        nothing = True
        for maker in self._events:
            if maker.applies(record):
                for outcome in maker.events(record):
                    nothing = False
                    yield outcome
        if nothing:
            seen = (str(value)[:REASON_LETTERS] for maker in self._events for value in maker.seen(record))
            yield Omission(f"no rule for {next(seen, 'others')}", "no [[event]] of the mapping is for such records")


class _EventMaker:
    """One rule of ``[[event]]``."""

    def __init__(self, rule: EventRule, mapping: MappingConfig, validator: Validator) -> None:
        self.rule, self.validator = rule, validator
        wanted = [
            (name.startswith("."), compiled(name), frozenset((values,) if isinstance(values, str) else values))
            for name, values in rule.when.items()
        ]
        self.when = [(column, values) for inside, column, values in wanted if not inside]
        self.inside = [(column, values) for inside, column, values in wanted if inside]
        self.each = [compiled(path) for path in rule.lists]
        if not rule.is_list:
            self.fields = mapping.compiled(validator.config, validator.notes.add, more=rule.fields)
            return
        texts = mapping.fields | rule.fields
        own = {name: text for name, text in texts.items() if name not in {"item_id", "position"}}
        whole = mapping.model_copy(update={"fields": own})
        self.fields = whole.compiled(validator.config, validator.notes.add)
        self.shown = {name: any_of(texts.get(name, "#"), mapping.values.get(name)) for name in ("item_id", "position")}

    def seen(self, record: Record) -> Iterator[Any]:
        """The values that the rule looks at."""
        return (value for column, _ in self.when if (value := column(record)) is not None)

    def applies(self, record: Record) -> bool:
        """Whether the rule is for this record."""
        return all(str(column(record)) in wanted for column, wanted in self.when)

    def events(self, record: Record) -> Iterator[Outcome]:
        """What the record means."""
        if self.rule.skip:
            yield Omission("left out by a rule", f"{dict(self.rule.when)}")
            return
        try:
            yield from self._events(record)
        except (ValueError, OverflowError) as error:
            yield refuse("invalid", str(error))

    def _events(self, record: Record) -> Iterator[Outcome]:
        if not self.each:
            yield self.validator.event(self.fields(record))
            return
        scopes = self._scopes(record)
        first = next(scopes, None)
        if first is None:
            if not self.inside:
                yield refuse("invalid", f"there is nothing in {' '.join(self.rule.lists)!r}")
            return
        scopes = chain([first], scopes)
        if self.rule.is_list:
            yield self._impression(record, list(islice(scopes, LOOKED_AT)))
            return
        for number, scope in enumerate(scopes):
            fields = self.fields(scope)
            if number and fields.get("event_id"):
                fields["event_id"] = f"{fields['event_id']}-{number}"
            yield self.validator.event(fields, number)

    def _scopes(self, record: Record) -> Iterator[Scope]:
        """What each element of the rule's lists sees: itself, and the record, of which there is one. Made one by one,
        as a list may be long."""
        whole = dict(record)
        scopes: Iterator[Scope] = iter([ChainMap({}, whole)])
        for each in self.each:
            scopes = self._inside(scopes, each, whole)
        return scopes

    def _inside(self, scopes: Iterable[Scope], each: Callable[[Record], Any], whole: dict[str, Any]) -> Iterator[Scope]:
        for scope in scopes:
            for number, element in enumerate(_listed(each(scope))):
                if each is not self.each[0] or self._wanted(ChainMap({".": element}, whole)):
                    yield ChainMap({"..": scope.get("."), ".": element, "#": number}, whole)

    def _wanted(self, scope: Record) -> bool:
        return all(str(column(scope)) in values for column, values in self.inside)

    def _impression(self, record: Record, scopes: Iterable[Scope]) -> Outcome:
        fields = self.fields(record)
        shown = [{name: make(scope) for name, make in self.shown.items()} for scope in scopes]
        items = [one for one in shown if one["item_id"] not in (None, "")]
        if len(items) < len(shown):
            self.validator.notes.add("shown items without an id, left out", record.get("event_name", ""))
        if len(items) > SHOWN:
            self.validator.notes.add(f"lists cut to {SHOWN} items", len(items))
        fields["items"] = items[:SHOWN]
        if not fields.get("shelf_id"):
            fields["shelf_id"] = (
                fields.get("event_id") or f"{fields.get('session_id') or fields.get('user_id')}-{fields.get('ts')}"
            )
        return self.validator.event(fields)


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [] if found is None else [found]
