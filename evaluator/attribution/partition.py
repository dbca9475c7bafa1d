"""One partition of ``shop.events``: its join, and what each batch changes.

Pure: takes decoded events, gives a :class:`Commit` that the store writes in one step. Everything is decided by the
order of offsets, never by how events fell into batches, so a batch that is taken again comes to the same.

Impressions close in order of time whatever the order of arrival, and a suspected bot is known by its closed impressions
alone: so what is set aside is the same after a restart, after repetitions and in any order too.
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
"""About how many facts one commit takes in or settles. What a night's pause closes goes in many commits, and none holds
Redis up for long."""

_fact_encoder = msgspec.msgpack.Encoder()
_fact_decoder = msgspec.msgpack.Decoder(list[JoinEvent])
_track_encoder = msgspec.msgpack.Encoder()
_track_decoder = msgspec.msgpack.Decoder(Track)
_name_encoder = msgspec.msgpack.Encoder()
_name_decoder = msgspec.msgpack.Decoder(tuple[str, str])

RateKey = tuple[int, Slice]
"""A minute (epoch ms of its beginning) and what was shown in it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A partition's state as it stands in Redis after its last commit; ``offset`` is the last one taken, -1 before;
    ``commit`` names that commit."""

    offset: int = -1
    commit: bytes = b""
    watermark: int = 0
    states: Mapping[bytes, bytes] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    tracks: Mapping[bytes, bytes] = field(default_factory=dict)
    experiment: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """What a batch changes: from which offset on, to which; fields set and removed; totals; examples; rates' gains;
    what is known of shoppers who may be bots, set and removed; what an experiment knows, and whether it is another.

    ``name`` is its own alone, and ``after`` the name of the one before it: one that only closes what is over leaves the
    offset as it is, so the offset alone does not tell what a commit was computed from. ``broken`` counts facts and
    impressions that could not be taken further and are left out, ``aside`` impressions of bots: neither makes an
    example or counts in rates.
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
    anew: bool = False


class Partition:
    """Joins one partition's events.

    Parameters
    ----------
    rates
        What was counted of its last hours: which names they were counted by.
    bots
        When a shopper is suspected to be one.
    by
        What its commits are named by: of its own in all the processes there ever are.
    block_ms
        The experiment's blocks.

    Attributes
    ----------
    challenge
        The experiment that is running, on this partition's shoppers.
    full
        Whether :meth:`take` stopped where a commit is large enough: the same is to be taken again after it.

    Examples
    --------
    >>> from streams.events.schema import Click, Impression, Shown
    >>> partition = Partition(JoinWindow(window_ms=1000, grace_ms=100), Saved())
    >>> shown = Impression(event_id="1", ts=0, user_id="u", shelf_id="s", surface="feed",
    ...     items=[Shown(item_id="a", position=0)])
    >>> first = partition.take([(0, shown), (1, Click(event_id="2", ts=9, user_id="u", item_id="a", shelf_id="s"))])
    >>> [closed.intent for closed in first], partition.commit({}).offset
    ([], 1)
    >>> [closed.intent for closed in partition.take([], watermark=5_000)]
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
            _name_decoder.decode(name): State(_fact_decoder.decode(value)) for name, value in saved.states.items()
        }
        self._join.restore(states, saved.watermark, _counts(saved.counts))
        self._closed: list[AttributedImpression] = []
        self._names = LabelLimiter()
        self._names.restore(rates or {})
        self._bots = Bots(bots)
        self._bots.restore({_shopper(name): _track_decoder.decode(value) for name, value in saved.tracks.items()})
        self._seen: set[str] = set()
        self._aside = 0
        self.challenge = CanaryExperiment(block_ms)
        self.challenge.load(saved.experiment)

    @property
    def watermark(self) -> int:
        """How far event time has come here, epoch ms."""
        return self._join.watermark

    @property
    def horizon(self) -> int:
        """Impressions seen before it are closed, epoch ms."""
        return self._join.closed_until

    def begin_anew(self) -> None:
        """Take whatever comes next: the topic was made anew, and its offsets begin again."""
        self.offset = -1

    def take(self, events: Iterable[tuple[int, AnyEvent | None]], watermark: int = 0) -> list[AttributedImpression]:
        """Take events in by offset; None stands for a record that is no event. Those taken before are passed over.

        What an event closes is closed before the event is taken: whoever dies between two commits of that leaves the
        event to be taken again.

        Parameters
        ----------
        watermark
            How far event time is known to have come by other means, as when nothing arrives any more.

        Returns
        -------
        list of AttributedImpression
            What this closes, until :meth:`commit` takes it, without what is a bot's.
        """
        for offset, event in events:
            if offset <= self.offset:
                continue
            if event is not None:
                if not self._advance(event.time_ms):
                    return list(self._closed)
                self._join.update(event)
            self.offset = offset
        self._advance(watermark)
        return list(self._closed)

    def _advance(self, watermark: int) -> bool:
        """Close what is over; False where that is more than fits into this commit."""
        room = MOST_CHANGES - self._join.changes
        if room > 0:
            self._judge(self._join.advance(watermark, room))
        self.full = room <= 0 or self._join.short
        return not self.full

    def commit(self, known: Mapping[str, ShelfContext]) -> Commit:
        """All that changed since the last commit.

        Parameters
        ----------
        known
            The shelves of what was closed, by id, as far as they are known.
        """
        closed, self._closed = self._closed, []
        aside, self._aside = self._aside, 0
        changed = self._join.drain()
        seen, self._seen = self._seen.union(self._bots.forget(self.horizon, MOST_CHANGES)), set()
        tracks = {shopper: self._bots.track(shopper) for shopper in seen}
        examples, rates, broken = self._told(closed, known)
        broken += self._tried(closed, known)
        experiment, anew = self.challenge.drain()
        found = Commit(
            before=self._committed,
            after=self._commit,
            name=next(self._numbered),
            offset=self.offset,
            watermark=self._join.watermark,
            set_={_name(key): _fact_encoder.encode(sorted(state)) for key, state in changed.items() if state},
            removed=[_name(key) for key, state in changed.items() if not state],
            totals=_totals(self._join.get()),
            examples=examples,
            rates=rates,
            broken=broken + self._join.broken,
            tracks={_field(name): _track_encoder.encode(track) for name, track in tracks.items() if track},
            forgotten=[_field(name) for name, track in tracks.items() if not track],
            aside=aside,
            experiment=experiment,
            anew=anew,
        )
        self._committed, self._commit, self._join.broken = self.offset, found.name, 0
        return found

    def counts(self) -> JoinCounts:
        """What was seen so far."""
        return self._join.get()

    def marked(self) -> Counter[str]:
        """How many shoppers are marked as bots now, by reason."""
        return self._bots.marked()

    def _judge(self, closed: Iterable[AttributedImpression]) -> None:
        """Set aside what is a bot's; that a shopper is one shows from this page on."""
        for shopper, page, shown in pages(closed):
            reason = self._bots.update(shopper, page)
            self._seen.add(shopper)
            if reason:
                self._join.set_aside(reason, page.shown, page.clicked)
                self._aside += len(shown)
            else:
                self._closed += shown

    def _told(
        self, closed: Iterable[AttributedImpression], known: Mapping[str, ShelfContext]
    ) -> tuple[list[LabelledExample], dict[RateKey, Tally], int]:
        """Examples and rates of closed impressions; one of which nothing can be told is left out, and counted: it would
        break every later batch again."""
        examples: list[LabelledExample] = []
        rates: defaultdict[RateKey, Tally] = defaultdict(Tally)
        broken = 0
        for one in closed:
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

    def _tried(self, closed: Iterable[AttributedImpression], known: Mapping[str, ShelfContext]) -> int:
        """Let the experiment count what was closed; how many views it could not."""
        broken = 0
        for view in views(closed, known):
            try:
                self.challenge.update(view)
            except Exception:
                broken += 1
        return broken


def checked_state(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A field of a saved state as it is, where it can be read.

    Raises
    ------
    ValueError, msgspec.MsgspecError
        Where it cannot.
    """
    _name_decoder.decode(name)
    _fact_decoder.decode(value)
    return name, value


def checked_track(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """As :func:`checked_state`, of what is known of a shopper who may be a bot."""
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
    parts = {"closed": counts.closed, "orphan": counts.orphans, "late": counts.late, "bot": counts.bots}
    return {f"{part}.{name}": count for part, counter in parts.items() for name, count in counter.items()}


def _counts(totals: Mapping[str, int]) -> JoinCounts:
    found: dict[str, Counter[str]] = {name: Counter() for name in ("closed", "orphan", "late", "bot")}
    for name, count in totals.items():
        part, _, what = name.partition(".")
        if part in found:
            found[part][what] = count
    return JoinCounts(found["closed"], found["orphan"], found["late"], bots=found["bot"])
