"""The experiment that a challenger is judged by: which views count, and what there is to say of them.

Pure: takes what the challenger's slot holds, and views. Knows nothing of topics, nor of what is decided.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from evaluator.experiments.experiment import PIECE, PIECES, Experiment
from evaluator.metrics.impression import View
from models.store.slots import Promotion, Slot
from streams.events.decode import UNDECODABLE
from streams.ranking.assignment import CANARY, CHAMPION, assign
from streams.telemetry.meter import Series

SETTLED_MS = 2_000
"""So long after a challenger got its share all workers act on it, and shelves count."""


class Trial(NamedTuple):
    """A challenger and the share of the shoppers that it has since ``at`` (epoch ms): one experiment."""

    version: str
    at: int
    share: float


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])

STATE = b"state"
"""The field that has all but the pieces of the filter, each of which has its number for a name."""


class CanaryExperiment:
    """Compares a challenger that some shoppers get with the champion, while it is in its slot.

    A view counts where its shelf was made once workers acted on the challenger's share, by the arm that the shopper
    belongs to. A worker that has yet to load the challenger, as after a restart, gives its shoppers the champion's
    shelves: their clicks are neither the canary's nor the champion's, but shoppers of the canary they are.

    Each partition has one, for its own shoppers, committed with the impressions that it has counted: so each of these
    counts once, whoever works on the partition. :meth:`gather` makes one of all partitions', for reading.

    Parameters
    ----------
    block_ms
        Clicks are compared in blocks of so much event time.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> challenge = CanaryExperiment(block_ms=60_000)
    >>> challenge.hold(Slot(Promotion("m2", datetime.fromtimestamp(0, UTC), "passed the gate", share=0.5)))
    >>> for number in range(100):
    ...     closed = AttributedImpression(f"u{number}", "i", "s", "feed", 0, ts=9_000)
    ...     challenge.update(View((closed,), arm="canary", made_at=5_000, made_for=closed.shopper))
    >>> shown = next(one for one in challenge.get() if one.labels["arm"] == "canary")
    >>> shown.name, shown.labels["challenger"], 35 < shown.value < 65
    ('experiment_impressions', 'm2', True)
    """

    def __init__(self, block_ms: int) -> None:
        self.block_ms = block_ms
        self._running: tuple[Trial, Experiment] | None = None
        self._kept: Experiment | None = None
        self._changed = False

    @property
    def running(self) -> bool:
        """Whether there is an experiment."""
        return self._running is not None

    def hold(self, slot: Slot | None) -> None:
        """Take in what the challenger's slot holds now, or once held: all its past may come before, and what is older
        than the experiment that goes on changes nothing."""
        trial = _trial(slot.current) if slot is not None and slot.current is not None else None
        if self._running is not None and (trial == self._running[0] or _before(slot, self._running[0])):
            return
        self._running = None if trial is None else (trial, self._begun(trial))

    def update(self, view: View) -> None:
        """Take a view in; one of another arm than these two, or from before, is passed over."""
        if self._running is None or view.made_at is None or view.arm not in (CHAMPION, CANARY):
            return
        trial, experiment = self._running
        if view.made_at < trial.at + SETTLED_MS:
            return
        self._changed = True
        belongs = CANARY if assign(view.made_for, trial.version) < trial.share else CHAMPION
        if view.arm != belongs:
            experiment.meet(view.shopper, belongs)
            return
        for one in view.closed:
            experiment.update(one, view.arm)

    def get(self) -> Iterator[Series]:
        """Where it stands: nothing where there is no experiment, and of the ratio what is known."""
        if self._running is None:
            return
        trial, experiment = self._running
        for arm, told in experiment.get().items():
            labels = {"arm": arm, "challenger": trial.version}
            yield Series("experiment_impressions", labels, told.impressions)
            yield Series("experiment_clicks", labels, told.clicks)
            yield Series("experiment_shoppers", labels, told.shoppers)
            yield Series("experiment_log10_evalue", {"test": "traffic", **labels}, told.log10_traffic)
            if arm in experiment.clicks:
                yield Series("experiment_log10_evalue", {"test": "clicks", **labels}, told.log10_clicks)
                ratio, low, high = experiment.clicks[arm].ratio()
                for name, value in (("ratio", ratio), ("ratio_low", low), ("ratio_high", high)):
                    if math.isfinite(value):
                        yield Series(f"experiment_{name}", labels, value)

    def drain(self) -> tuple[dict[bytes, bytes], bool]:
        """What has changed since the last call, as fields of a hash; and whether all that was kept before is to go."""
        if self._running is None or not self._changed:
            return {}, False
        trial, experiment = self._running
        anew, self._kept, self._changed = experiment is not self._kept, experiment, False
        state = _encoder.encode({"trial": list(trial), "experiment": experiment.save()})
        pieces = {str(number).encode(): piece for number, piece in experiment.seen().items()}
        return {STATE: state} | pieces, anew

    def load(self, fields: Mapping[bytes, bytes]) -> None:
        """Go on from all that :meth:`drain` gave, until the slot holds something else; what cannot be read, or was
        compared in other blocks, is begun anew."""
        seen = {int(name): piece for name, piece in fields.items() if name != STATE}
        for trial, experiment in self._read([fields.get(STATE, b"")], seen):
            self._running, self._kept = (trial, experiment), experiment

    def gather(self, states: Iterable[bytes]) -> None:
        """Put together what partitions have drained of the experiment that is running, by their fields ``STATE``."""
        if self._running is not None:
            trial = self._running[0]
            found = self._begun(trial)
            for of, experiment in self._read(states):
                if of == trial:
                    found = found.merge(experiment)
            self._running = trial, found

    def _begun(self, trial: Trial) -> Experiment:
        return Experiment({CHAMPION: 1 - trial.share, CANARY: trial.share}, self.block_ms)

    def _read(
        self, states: Iterable[bytes], seen: Mapping[int, bytes] | None = None
    ) -> Iterator[tuple[Trial, Experiment]]:
        """Trials and their experiments, of states that can be read and fit."""
        for state in states:
            with suppress(*UNDECODABLE, ValueError, KeyError, TypeError, AttributeError):
                saved = _decoder.decode(state)
                if saved["experiment"]["block_ms"] == self.block_ms:
                    yield msgspec.convert(saved["trial"], Trial), Experiment.load(saved["experiment"], seen)


def checked_piece(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A field as :meth:`CanaryExperiment.drain` gave it.

    Raises
    ------
    ValueError
        Where it is none.
    """
    if name != STATE and (str(int(name)).encode() != name or len(value) != PIECE or not 0 <= int(name) < PIECES):
        raise ValueError("it is no piece of the filter")
    return name, value


def _before(slot: Slot | None, trial: Trial) -> bool:
    """Whether a slot was so before a trial began."""
    if slot is None:
        return False
    if slot.current is not None:
        return _ms(slot.current) < trial.at
    return all((one.version, _ms(one)) != (trial.version, trial.at) for one in slot.history)


def _ms(promotion: Promotion) -> int:
    return int(promotion.at.timestamp() * 1_000)


def _trial(promotion: Promotion) -> Trial | None:
    """None of a shadow, and where nobody is left to compare with."""
    return Trial(promotion.version, _ms(promotion), promotion.share) if 0 < promotion.share < 1 else None
