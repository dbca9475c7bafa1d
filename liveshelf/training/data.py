"""Turns files of events and items into training examples, with the join and the labels of the live loop.

Reads through ``streams.events.adapters``, as ``import items`` and ``replay`` do; joins and labels with
``evaluator.attribution``.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from evaluator.attribution.example import ShelfContext, label
from evaluator.attribution.join import Attribution, JoinWindow, pages
from evaluator.attribution.labels import Context, Contexts, example
from evaluator.metrics.impression import AttributedImpression
from evaluator.metrics.position_bias import PositionBiasModel
from evaluator.retraining.dataset import weighed
from evaluator.retraining.served_feeds import looked_at, served_feeds
from liveshelf.terminal import add_row
from models.intents import INTENTS
from models.training.examples import Example, ExamplesError
from models.training.served_feeds import FeedSlices
from streams.catalog.embedding import text
from streams.clock import wall_ms
from streams.config import BotsConfig, EventsConfig
from streams.events.adapters import files
from streams.events.adapters.files import Kind
from streams.events.adapters.mapping import MappingConfig, load
from streams.events.adapters.source import Line, Source, SourceError
from streams.events.bots import Bots
from streams.events.decode import UNDECODABLE, Refusal
from streams.events.schema import AnyEvent, Item
from streams.events.shelf import ShelfRecord, record_decoder

DEV_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """Examples split by time: older ones to train on, newer ones to evaluate on; ``window`` is the time of the former.

    ``name`` is the events' file, ``catalogue`` the texts of all items. ``counts`` has attributed impressions by intent,
    orphan outcomes, impressions still open at the end of the file, attributed impressions without text or context, and
    refused records by reason. ``positions`` are those of the examples to train on. ``feeds`` are the feeds of the same
    two times whose records say what they were ranked by.
    """

    train: list[Example]
    dev: list[Example]
    window: tuple[datetime, datetime]
    counts: Counter[str] = field(default_factory=Counter)
    positions: PositionBiasModel = field(default_factory=PositionBiasModel)
    name: str = ""
    catalogue: tuple[str, ...] = ()
    feeds: FeedSlices = field(default_factory=FeedSlices)

    def read(self) -> tuple[list[Example], list[Example]]:
        """Examples to train on, and others to evaluate on."""
        return self.train, self.dev

    def table(self) -> Table:
        """The counts as a table."""
        table = Table(show_header=False, box=None, title="From events")
        for name, count in self.counts.items():
            add_row(table, name, f"{count:,}")
        table.add_row("train, dev", f"{len(self.train):,}", f"{len(self.dev):,}")
        table.add_row("from, to", *(moment.isoformat(" ") for moment in self.window))
        return table


@dataclass(frozen=True, slots=True)
class EventFiles:
    """Files of events and items, and how to read them.

    Attributes
    ----------
    events, items
        Files as ``liveshelf replay`` and ``liveshelf import items`` take them.
    events_mapping, items_mapping
        A preset's name, or a TOML file; None for Liveshelf's own JSON lines.
    shelves
        Shelf records as JSON lines, if there are any.
    limit
        The most events to read.
    debias
        Weight the ``look`` examples by the inverse propensity of their position.
    bots
        When a shopper is suspected to be a bot; bots make no examples.
    """

    events: Path
    items: Path
    events_mapping: str | None = None
    items_mapping: str | None = None
    shelves: Path | None = None
    limit: int | None = None
    debias: bool = False
    rules: JoinWindow = field(default_factory=JoinWindow)
    bots: BotsConfig = field(default_factory=BotsConfig)

    def label(self) -> LabelledFiles:
        """Join, label and split by time: the newest tenth of the seen shelves is set aside for evaluation.

        Raises
        ------
        ExamplesError
            When a file cannot be read, or no attributed impression has a text and a context.
        streams.events.adapters.mapping.MappingError
            When a mapping does not fit.
        """
        counts: Counter[str] = Counter()
        found = item_texts(self.items, self.items_mapping, counts)
        events = list(self._events(counts))
        contexts = Contexts(self.rules.window_ms)
        self._read_shelves(contexts)
        shown = list(_joined(events, contexts, self.rules, Bots(self.bots), counts))
        made = [(impression, one) for impression, context in shown if (one := example(impression, context, found.get))]
        counts["without text or context"] = len(shown) - len(made)
        if not made:
            raise ExamplesError(self._why_none(Counter(event.kind for event in events), counts))
        labelled = _split(made, counts, self.debias)
        older = int(labelled.window[1].timestamp() * 1_000)
        feeds = self._feeds([impression for impression, _ in shown], contexts, found.get, older)
        counts["feeds with an outcome and what they were ranked by"] = len(feeds.train) + len(feeds.calibrate)
        return replace(labelled, name=self.events.name, catalogue=tuple(dict.fromkeys(found.values())), feeds=feeds)

    def _feeds(
        self,
        shown: Sequence[AttributedImpression],
        contexts: Contexts,
        text: Callable[[str], str | None],
        older: int,
    ) -> FeedSlices:
        """The feeds of shelf records: those seen up to a time (epoch ms) to learn from, newer ones to choose by."""
        shelves = {one.shelf_id: contexts.shelf(one.shelf_id) for one in shown}
        known = {name: ShelfContext.of(record) for name, record in shelves.items() if record is not None}
        made = sorted((label(one, known.get(one.shelf_id)) for one in shown), key=lambda one: one.ts)
        before, after = [one for one in made if one.ts <= older], [one for one in made if one.ts > older]
        looked = looked_at(before) if self.debias else []
        train, calibrate = (list(served_feeds(some, text, looked)) for some in (before, after))
        return FeedSlices(train=train, calibrate=calibrate)

    def _why_none(self, kinds: Counter[str], counts: Counter[str]) -> str:
        """Why no example could be made, and what to do about it."""
        if kinds and not kinds["impression"]:
            said = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
            return (
                f"{self.events} has no impressions ({said}), so there is nothing to learn from: an example is an item "
                "that a shopper was shown, with what they did about it or did not. Give a file with an impression "
                "event for each list that was shown (docs/events.md). A history without impressions still tells "
                "workers what is in demand and what is bought together: liveshelf replay"
            )
        return f"{self.events} and {self.items} make no examples: {_listed(counts)}"

    def _events(self, counts: Counter[str]) -> Iterator[AnyEvent]:
        for number, event in enumerate(records(self.events, "events", mapped(self.events_mapping), counts)):
            if number == self.limit:
                break
            if not isinstance(event, Item):
                yield event

    def _read_shelves(self, contexts: Contexts) -> None:
        if self.shelves is None:
            return
        try:
            with Source(self.shelves) as source:
                for line in source.lines():
                    contexts.record(_shelf_record(line, self.shelves))
        except OSError as error:
            raise _unread(self.shelves, error) from error


def item_texts(path: Path, mapping: str | None = None, counts: Counter[str] | None = None) -> dict[str, str]:
    """The text that the encoder reads, of each item in a file by id; the last record of an item counts."""
    read = records(path, "items", mapped(mapping), Counter() if counts is None else counts)
    return {item.item_id: text(item) for item in read if isinstance(item, Item)}


def records(path: Path, kind: Kind, mapping: MappingConfig, counts: Counter[str]) -> Iterator[AnyEvent | Item]:
    """Valid events or items of a file; refused records are counted by reason.

    Records from the future are found by the wall clock: a file does not say when its lines were written, and what it
    holds must have happened before it is read.

    Raises
    ------
    ExamplesError
        When the file itself cannot be read.
    """
    try:
        with Source(path, mapping.encoding) as source:
            for entry in files.read(source, kind, mapping, wall_ms(), EventsConfig()):
                if isinstance(entry.outcome, Refusal):
                    counts[f"{entry.outcome.reason} {kind}"] += 1
                else:
                    yield entry.outcome
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path, error: OSError) -> ExamplesError:
    return ExamplesError(str(error) if isinstance(error, SourceError) else f"{path} cannot be read: {error}")


def _shelf_record(line: Line, path: Path) -> ShelfRecord:
    try:
        return record_decoder.decode(line.raw)
    except UNDECODABLE as error:
        raise ExamplesError(f"{path}, line {line.number:,}, is no shelf record: {error}") from error


def mapped(mapping: str | None) -> MappingConfig:
    """A mapping, by the name of a preset or of a file.

    Examples
    --------
    >>> mapped("retrotech").kind, mapped(None).kind
    ('items', None)
    """
    if mapping is not None and mapping.endswith(".toml"):
        return load(path=Path(mapping))
    return load(mapping)


def _joined(
    events: Sequence[AnyEvent], contexts: Contexts, rules: JoinWindow, bots: Bots, counts: Counter[str]
) -> Iterator[tuple[AttributedImpression, Context]]:
    """Attributed impressions with their contexts, as the live loop has them at the time of the newest event."""
    join = Attribution(rules)
    for event in sorted(events, key=lambda event: event.time_ms):
        contexts.update(event)
        join.update(event)
        for shopper, page, shown in pages(join.advance(event.time_ms)):
            if reason := bots.update(shopper, page):
                counts[f"of suspected bots ({reason}), left out"] += page.shown
            else:
                yield from ((impression, contexts.get(impression)) for impression in shown)
        bots.forget(join.attributed_until)
    found = join.get()
    counts.update({intent: found.attributed[intent] for intent in INTENTS})
    counts["orphan outcomes"] = found.orphans.total()
    counts["still open at the end"] = found.waiting
    if join.broken:
        counts["beyond what one shopper and item may have"] = join.broken


def _split(made: list[tuple[AttributedImpression, Example]], counts: Counter[str], debias: bool) -> LabelledFiles:
    views = sorted({(impression.ts, impression.shopper, impression.shelf_id) for impression, _ in made})
    cut = views[min(int((1 - DEV_SHARE) * len(views)), len(views) - 1)][0]
    older = [(impression, one) for impression, one in made if impression.ts < cut]
    newer = [one for impression, one in made if impression.ts >= cut]
    if not older:
        raise ExamplesError(f"all examples are of one moment, so none can be set aside by time: {_listed(counts)}")
    positions = PositionBiasModel()
    for impression, one in older:
        if one.query:
            positions.update(one.query, impression.item_id, impression.position, one.intent != "ignore")
    train = [one for _, one in older]
    times = [impression.ts for impression, _ in older]
    return LabelledFiles(
        weighed(train, positions) if debias else train,
        newer,
        (datetime.fromtimestamp(min(times) / 1000, UTC), datetime.fromtimestamp(max(times) / 1000, UTC)),
        counts,
        positions,
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "there is nothing in them"
