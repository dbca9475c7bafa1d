"""The canary's experiment: which views count, and the figures of both arms.

Pure: takes the content of the challenger's slot, and views. Knows nothing of topics, nor of decisions.
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
"""All workers act on a challenger's share after this time; shelves made later count."""


class CanarySpec(NamedTuple):
    """One canary: a challenger and the share of the shoppers that it has had since ``at`` (epoch ms)."""

    version: str
    at: int
    share: float


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])

STATE = b"state"
"""The field with the state without the filter. Each piece of the filter has a field named by its number."""


class CanaryExperiment:
    """Compares a challenger that some shoppers get with the champion, while it is in its slot.

    A view counts if its shelf was made by the shopper's own arm, after workers acted on the challenger's share. A
    worker that has not loaded the challenger yet, as after a restart, gives its shoppers the champion's shelves. Their
    clicks count for neither arm; the shoppers count for the canary.

    Each partition has its own, for its shoppers. It is committed with the impressions that it has counted, so each
    impression counts once, whichever process works on the partition. :meth:`gather` adds up the partitions for reading.

    Parameters
    ----------
    block_ms
        Length of a block of event time; clicks are compared by block.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> canary = CanaryExperiment(block_ms=60_000)
    >>> canary.hold(Slot(Promotion("m2", datetime.fromtimestamp(0, UTC), "passed the gate", share=0.5)))
    >>> for number in range(100):
    ...     impression = AttributedImpression(f"u{number}", "i", "s", "feed", 0, ts=9_000)
    ...     canary.update(View((impression,), arm="canary", made_at=5_000, made_for=impression.shopper))
    >>> shown = next(one for one in canary.get() if one.labels["arm"] == "canary")
    >>> shown.name, shown.labels["challenger"], 35 < shown.value < 65
    ('experiment_impressions', 'm2', True)
    """

    def __init__(self, block_ms: int) -> None:
        self.block_ms = block_ms
        self._running: tuple[CanarySpec, Experiment] | None = None
        self._kept: Experiment | None = None
        self._changed = False

    @property
    def running(self) -> bool:
        """Whether there is an experiment."""
        return self._running is not None

    def hold(self, slot: Slot | None) -> None:
        """Take in a state of the challenger's slot, present or past: a reader may see the slot's whole history first.
        A state that is older than the running experiment changes nothing."""
        spec = _spec(slot.current) if slot is not None and slot.current is not None else None
        if self._running is not None and (spec == self._running[0] or _before(slot, self._running[0])):
            return
        self._running = None if spec is None else (spec, self._new(spec))

    def update(self, view: View) -> None:
        """Take a view in; views of other arms, or from before the experiment, are ignored."""
        if self._running is None or view.made_at is None or view.arm not in (CHAMPION, CANARY):
            return
        spec, experiment = self._running
        if view.made_at < spec.at + SETTLED_MS:
            return
        self._changed = True
        belongs = CANARY if assign(view.made_for, spec.version) < spec.share else CHAMPION
        if view.arm != belongs:
            experiment.meet(view.shopper, belongs)
            return
        for one in view.impressions:
            experiment.update(one, view.arm)

    def get(self) -> Iterator[Series]:
        """The figures: none where there is no experiment, and no ratio where it is not known yet."""
        if self._running is None:
            return
        spec, experiment = self._running
        for arm, report in experiment.get().items():
            labels = {"arm": arm, "challenger": spec.version}
            yield Series("experiment_impressions", labels, report.impressions)
            yield Series("experiment_clicks", labels, report.clicks)
            yield Series("experiment_shoppers", labels, report.shoppers)
            yield Series("experiment_log10_evalue", {"test": "traffic", **labels}, report.log10_traffic)
            if arm in experiment.clicks:
                yield Series("experiment_log10_evalue", {"test": "clicks", **labels}, report.log10_clicks)
                ratio, low, high = experiment.clicks[arm].ratio()
                yield Series("experiment_dispersion", labels, experiment.clicks[arm].dispersion)
                for name, value in (("ratio", ratio), ("ratio_low", low), ("ratio_high", high)):
                    if math.isfinite(value):
                        yield Series(f"experiment_{name}", labels, value)

    def drain(self) -> tuple[dict[bytes, bytes], bool]:
        """Fields of a hash that changed since the last call, and whether all fields kept before are to be removed."""
        if self._running is None or not self._changed:
            return {}, False
        spec, experiment = self._running
        replaced, self._kept, self._changed = experiment is not self._kept, experiment, False
        state = _encoder.encode({"trial": list(spec), "experiment": experiment.save()})
        pieces = {str(number).encode(): piece for number, piece in experiment.seen().items()}
        return {STATE: state} | pieces, replaced

    def load(self, fields: Mapping[bytes, bytes]) -> None:
        """Go on from all fields of :meth:`drain`, until the slot holds something else. A state that cannot be read, or
        that has other blocks, is dropped."""
        seen = {int(name): piece for name, piece in fields.items() if name != STATE}
        for spec, experiment in self._read([fields.get(STATE, b"")], seen):
            self._running, self._kept = (spec, experiment), experiment

    def gather(self, states: Iterable[bytes]) -> None:
        """Merge the partitions' states of the running experiment, given the values of their fields ``STATE``."""
        if self._running is not None:
            spec = self._running[0]
            found = self._new(spec)
            for of, experiment in self._read(states):
                if of == spec:
                    found = found.merge(experiment)
            self._running = spec, found

    def _new(self, spec: CanarySpec) -> Experiment:
        return Experiment({CHAMPION: 1 - spec.share, CANARY: spec.share}, self.block_ms)

    def _read(
        self, states: Iterable[bytes], seen: Mapping[int, bytes] | None = None
    ) -> Iterator[tuple[CanarySpec, Experiment]]:
        """Canaries and their experiments, from the states that can be read and have the same blocks."""
        for state in states:
            with suppress(*UNDECODABLE, ValueError, KeyError, TypeError, AttributeError):
                saved = _decoder.decode(state)
                if saved["experiment"]["block_ms"] == self.block_ms:
                    yield msgspec.convert(saved["trial"], CanarySpec), Experiment.load(saved["experiment"], seen)


def checked_piece(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Check a field of :meth:`CanaryExperiment.drain`.

    Raises
    ------
    ValueError
        When it is not such a field.
    """
    if name != STATE and (str(int(name)).encode() != name or len(value) != PIECE or not 0 <= int(name) < PIECES):
        raise ValueError("it is no piece of the filter")
    return name, value


def _before(slot: Slot | None, spec: CanarySpec) -> bool:
    """Whether a state of the slot is from before a canary began."""
    if slot is None:
        return False
    if slot.current is not None:
        return _ms(slot.current) < spec.at
    return all((one.version, _ms(one)) != (spec.version, spec.at) for one in slot.history)


def _ms(promotion: Promotion) -> int:
    return int(promotion.at.timestamp() * 1_000)


def _spec(promotion: Promotion) -> CanarySpec | None:
    """The canary of a promotion; None in shadow, and where the share leaves no other arm to compare with."""
    return CanarySpec(promotion.version, _ms(promotion), promotion.share) if 0 < promotion.share < 1 else None
