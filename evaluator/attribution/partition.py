"""One partition of ``shop.events``: its join, and what each batch changes.

Pure: takes decoded events, gives a :class:`Commit` that the store writes in one step. Results depend on the order of
offsets, never on how events fall into batches, so a batch that is taken again gives the same result.

Impressions are attributed in order of time, whatever the order of arrival. Bots are recognised by attributed
impressions alone. So restarts, duplicates and another order do not change which impressions are set aside.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from evaluator.attribution.example import LabelledExample, ShelfContext, label, views
from evaluator.attribution.join import Attribution, JoinCounts, JoinWindow, Key, State, pages
from evaluator.experiments.canary import CanaryExperiment
from evaluator.experiments.experiment import BLOCK_MS
from evaluator.metrics.cardinality import LabelLimiter
from evaluator.metrics.impression import AttributedImpression, JoinEvent
from evaluator.metrics.rates import Slice, Tally, cut, tally
from streams.config import BotsConfig
from streams.events.bots import Bots, Track
from streams.events.schema import AnyEvent

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

MOST_CHANGES = 1_024
"""About how many join events one commit takes in or settles. After a pause of a night much is due at once; it goes in
many commits, so that none blocks Redis for long."""

_state_encoder = msgspec.msgpack.Encoder()
_state_decoder = msgspec.msgpack.Decoder(list[JoinEvent])
_track_encoder = msgspec.msgpack.Encoder()
_track_decoder = msgspec.msgpack.Decoder(Track)
_name_encoder = msgspec.msgpack.Encoder()
_name_decoder = msgspec.msgpack.Decoder(tuple[str, str])

RateKey = tuple[int, Slice]
"""A minute (epoch ms of its beginning) and a slice of what was shown in it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A partition's state in Redis after its last commit. ``offset`` is the last one taken, -1 where there is none;
    ``commit`` is the name of that commit."""

    offset: int = -1
    commit: bytes = b""
    watermark: int = 0
    states: Mapping[bytes, bytes] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    tracks: Mapping[bytes, bytes] = field(default_factory=dict)
    experiment: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """What a batch changes.

    Attributes
    ----------
    before, after
        Offset and name of the commit that it was computed from. The offset alone does not identify it: a commit that
        only settles what is due leaves the offset as it is.
    name, offset, watermark
        Its own unique name; the last offset taken; how far event time has come.
    set_, removed
        Fields of the join's state.
    totals
        Counts since the state began.
    examples, rates
        Examples of attributed impressions, and what they add to the rates.
    broken
        Join events and impressions that raised an exception. They give no example, and do not count in rates.
    tracks, forgotten
        Shoppers' fields for the recognition of bots: those set, and those removed.
    aside
        Attributed impressions of suspected bots. They give no example, and do not count in rates.
    experiment, new_experiment
        Changed fields of the canary experiment; whether all of its fields from before are to be removed.
    """

    before: int
    after: bytes
    name: bytes
    offset: int
    watermark: int
    set_: dict[bytes, bytes]
    removed: list[bytes]
    totals: dict[str, int]
    examples: list[LabelledExample]
    rates: dict[RateKey, Tally]
    broken: int = 0
    tracks: dict[bytes, bytes] = field(default_factory=dict)
    forgotten: list[bytes] = field(default_factory=list)
    aside: int = 0
    experiment: dict[bytes, bytes] = field(default_factory=dict)
    new_experiment: bool = False


class Partition:
    """Joins one partition's events.

    Parameters
    ----------
    rates
        The rates of its last hours, for the names that they are counted by.
    bots
        When a shopper is suspected to be a bot.
    by
        Prefix of its commits' names, unique among all processes.
    block_ms
        Length of the experiment's blocks.

    Attributes
    ----------
    canary
        The experiment that is running, on this partition's shoppers.
    full
        Whether :meth:`take` stopped because the commit is large enough. Commit, then take the same events again.

    Examples
    --------
    >>> from streams.events.schema import Click, Impression, Shown
    >>> partition = Partition(JoinWindow(window_ms=1000, grace_ms=100), Saved())
    >>> shown = Impression(event_id="1", ts=0, user_id="u", shelf_id="s", surface="feed",
    ...     items=[Shown(item_id="a", position=0)])
    >>> first = partition.take([(0, shown), (1, Click(event_id="2", ts=9, user_id="u", item_id="a", shelf_id="s"))])
    >>> [one.intent for one in first], partition.commit({}).offset
    ([], 1)
    >>> [one.intent for one in partition.take([], watermark=5_000)]
    ['look']
    """

    def __init__(
        self,
        rules: JoinWindow,
        saved: Saved,
        rates: Mapping[RateKey, Tally] | None = None,
        bots: BotsConfig | None = None,
        by: str = "",
        block_ms: int = BLOCK_MS,
    ) -> None:
        self.offset = self._committed = saved.offset
        self.full, self._commit = False, saved.commit
        self._numbered = (f"{by}.{number}".encode() for number in itertools.count(1))
        self._join = Attribution(rules)
        states = {
            _name_decoder.decode(name): State(_state_decoder.decode(value)) for name, value in saved.states.items()
        }
        self._join.restore(states, saved.watermark, _counts(saved.counts))
        self._attributed: list[AttributedImpression] = []
        self._names = LabelLimiter()
        self._names.restore(rates or {})
        self._bots = Bots(bots)
        self._bots.restore({_shopper(name): _track_decoder.decode(value) for name, value in saved.tracks.items()})
        self._seen: set[str] = set()
        self._aside = 0
        self.canary = CanaryExperiment(block_ms)
        self.canary.load(saved.experiment)

    @property
    def watermark(self) -> int:
        """How far event time has come here, epoch ms."""
        return self._join.watermark

    @property
    def attributed_until(self) -> int:
        """Impressions seen before it are attributed, epoch ms."""
        return self._join.attributed_until

    def begin_anew(self) -> None:
        """Take events from any offset on: the topic was recreated, so its offsets begin again."""
        self.offset = -1

    def take(self, events: Iterable[tuple[int, AnyEvent | None]], watermark: int = 0) -> list[AttributedImpression]:
        """Take events in by offset; None stands for a record that is no event. Those taken before are skipped.

        Impressions that an event's time makes due are attributed before the event is taken. If the process dies between
        two commits of that, the event is taken again.

        Parameters
        ----------
        watermark
            How far event time has come by another source, such as the clock when nothing arrives any more.

        Returns
        -------
        list of AttributedImpression
            Those attributed since the last :meth:`commit`, without those of suspected bots.
        """
        for offset, event in events:
            if offset <= self.offset:
                continue
            if event is not None:
                if not self._advance(event.time_ms):
                    return list(self._attributed)
                self._join.update(event)
            self.offset = offset
        self._advance(watermark)
        return list(self._attributed)

    def _advance(self, watermark: int) -> bool:
        """Attribute the impressions that are due; False where they are more than fit into this commit."""
        room = MOST_CHANGES - self._join.changes
        if room > 0:
            self._set_bots_aside(self._join.advance(watermark, room))
        self.full = room <= 0 or self._join.more_due
        return not self.full

    def commit(self, known: Mapping[str, ShelfContext]) -> Commit:
        """All that changed since the last commit.

        Parameters
        ----------
        known
            The attributed impressions' shelves by id, as far as they are known.
        """
        attributed, self._attributed = self._attributed, []
        aside, self._aside = self._aside, 0
        changed = self._join.drain()
        seen, self._seen = self._seen.union(self._bots.forget(self.attributed_until, MOST_CHANGES)), set()
        tracks = {shopper: self._bots.track(shopper) for shopper in seen}
        examples, rates, broken = self._label(attributed, known)
        broken += self._update_canary(attributed, known)
        experiment, new_experiment = self.canary.drain()
        commit = Commit(
            before=self._committed,
            after=self._commit,
            name=next(self._numbered),
            offset=self.offset,
            watermark=self._join.watermark,
            set_={_name(key): _state_encoder.encode(sorted(state)) for key, state in changed.items() if state},
            removed=[_name(key) for key, state in changed.items() if not state],
            totals=_totals(self._join.get()),
            examples=examples,
            rates=rates,
            broken=broken + self._join.broken,
            tracks={_field(name): _track_encoder.encode(track) for name, track in tracks.items() if track},
            forgotten=[_field(name) for name, track in tracks.items() if not track],
            aside=aside,
            experiment=experiment,
            new_experiment=new_experiment,
        )
        self._committed, self._commit, self._join.broken = self.offset, commit.name, 0
        return commit

    def counts(self) -> JoinCounts:
        """The counts so far."""
        return self._join.get()

    def marked(self) -> Counter[str]:
        """Number of shoppers who are marked as bots now, by reason."""
        return self._bots.marked()

    def _set_bots_aside(self, impressions: Iterable[AttributedImpression]) -> None:
        """Count suspected bots' impressions apart, from the page on by which a shopper is recognised as one."""
        for shopper, page, shown in pages(impressions):
            reason = self._bots.update(shopper, page)
            self._seen.add(shopper)
            if reason:
                self._join.set_aside(reason, page.shown, page.clicked)
                self._aside += len(shown)
            else:
                self._attributed += shown

    def _label(
        self, impressions: Iterable[AttributedImpression], known: Mapping[str, ShelfContext]
    ) -> tuple[list[LabelledExample], dict[RateKey, Tally], int]:
        """Examples and rates of attributed impressions, and how many raised an exception. These are left out: they
        would break every later batch."""
        examples: list[LabelledExample] = []
        rates: defaultdict[RateKey, Tally] = defaultdict(Tally)
        broken = 0
        for one in impressions:
            shelf = known.get(one.shelf_id)
            arm, model = (shelf.arm, shelf.model) if shelf else ("", "")
            try:
                example, sums, named = label(one, shelf), tally(one), cut(one, arm, model)
            except Exception:
                broken += 1
                continue
            examples.append(example)
            rates[one.ts // MINUTE_MS * MINUTE_MS, self._names.of(one.ts, named)].add(sums)
        return examples, dict(rates), broken

    def _update_canary(self, impressions: Iterable[AttributedImpression], known: Mapping[str, ShelfContext]) -> int:
        """Count attributed impressions in the experiment; gives how many views raised an exception."""
        broken = 0
        for view in views(impressions, known):
            try:
                self.canary.update(view)
            except Exception:
                broken += 1
        return broken


def checked_state(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Check a field of a saved state.

    Raises
    ------
    ValueError, msgspec.MsgspecError
        When it cannot be read.
    """
    _name_decoder.decode(name)
    _state_decoder.decode(value)
    return name, value


def checked_track(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Check a shopper's field for the recognition of bots, as :func:`checked_state` does."""
    _shopper(name)
    _track_decoder.decode(value)
    return name, value


def _name(key: Key) -> bytes:
    return _name_encoder.encode(key)


def _field(shopper: str) -> bytes:
    return shopper.encode("utf-8", "surrogatepass")


def _shopper(field: bytes) -> str:
    return field.decode("utf-8", "surrogatepass")


def _totals(counts: JoinCounts) -> dict[str, int]:
    parts = {"closed": counts.attributed, "orphan": counts.orphans, "late": counts.late, "bot": counts.bots}
    return {f"{part}.{name}": count for part, counter in parts.items() for name, count in counter.items()}


def _counts(totals: Mapping[str, int]) -> JoinCounts:
    found: dict[str, Counter[str]] = {name: Counter() for name in ("closed", "orphan", "late", "bot")}
    for name, count in totals.items():
        part, _, what = name.partition(".")
        if part in found:
            found[part][what] = count
    return JoinCounts(found["closed"], found["orphan"], found["late"], bots=found["bot"])
