"""Resource cost: time of a call, throughput, memory, bytes, operations, energy and money.

Calls are repeated with cases drawn by the seed; intervals are of a bootstrap over calls. They say how sure a figure is
of this run on this machine, not of another machine. Knows a contender by its calls; nothing of how it works.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluator.message import Text, joined, said
from evaluator.offline.contenders.contender import PaidContender
from evaluator.offline.cost import service
from evaluator.offline.cost.calls import LEAST_CALLS, LEAST_P99, Kind, measure, resampled
from evaluator.offline.cost.energy import WATTS_PER_CORE, counter
from evaluator.offline.cost.footprint import footprint
from evaluator.offline.cost.operations import ceiling, counted
from evaluator.offline.data import Case, Document, EvaluationData, blind
from evaluator.offline.dimensions.dimension import Bench, Part, Reading, optional
from evaluator.offline.fairness.groups import ranked
from evaluator.offline.resampling import Numbers

NAME = "cost"

BATCHES = (1, 8, 64)
CANDIDATES = (10, 100, 1_000)

SECONDS = (2.0, 0.8, 0.8)
"""Seconds for the calls of one, of eight, and of sixty-four cases."""

SECONDS_CANDIDATES = 0.6

MOST_CALLS = 400
"""Calls of one case at most; of other kinds a quarter."""

COUNTED = 8
"""Cases whose operations are counted, at least."""

SURE_P99 = 368
"""Calls from which the interval of a 99th percentile has an upper end."""

BY_TIME = said("processor time, taken as {watts:g} W a core", watts=WATTS_PER_CORE)
"""How energy is known where the processor does not tell it."""


class Cost:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:  # noqa: ARG002
        """None."""
        return {}

    def measure(self, bench: Bench) -> Part:
        """Calls of several sizes, then what is known without calls. A paid service is not called."""
        if isinstance(bench.contender, PaidContender):
            return Part(readings=[*service.readings(bench, bench.contender, NAME), *_fixed(bench)])
        batches, lists = _kinds(bench)
        joules, reference = counter(), Reference()
        measure(bench.contender, batches, joules, reference)
        bench.progress(0.6)
        measure(bench.contender, lists, joules, reference)
        bench.progress(0.9)
        largest = [kind for kind in batches if kind.times][-1]
        readings = [
            *(reading for kind in (*batches, *lists) for reading in _latency(bench, kind)),
            *_per_shelf(bench, largest),
            *_operations(bench, largest),
            *_fixed(bench),
            reference.reading(bench),
        ]
        calls = {kind.name or "one case": len(kind.times) for kind in (*batches, *lists)}
        return Part(readings=readings, details={"calls": calls, "cores": os.cpu_count()})


class Reference:
    """A fixed computation, timed between the calls: where it is slower, the machine was busier."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._values = np.random.default_rng(0).random(20_000)

    def __call__(self) -> None:
        """Sort twenty thousand numbers."""
        started = time.perf_counter()
        np.sort(self._values)
        self.times.append(time.perf_counter() - started)

    def reading(self, bench: Bench) -> Reading:
        """Its median."""
        return _resampled(
            bench,
            [self.times],
            lambda times: 1e3 * np.median(times, axis=-1),
            measure="reference p50",
            unit="ms",
            better=None,
            says="Median time of sorting 20,000 numbers between the calls: how busy the machine was meanwhile.",
        )


def _kinds(bench: Bench) -> tuple[list[Kind], list[Kind]]:
    """Calls by batch and by number of candidates; the cases are the same for all contenders."""
    cases = bench.data.cases
    hidden = [blind(case) for case in cases]
    items = ranked(bench.data)

    def batch(size: int) -> Callable[[], list[Case]]:
        chance = np.random.default_rng([bench.seed, size])
        return lambda: [hidden[at] for at in chance.integers(0, len(hidden), size).tolist()]

    def listed(size: int) -> Callable[[], list[Case]]:
        chance = np.random.default_rng([bench.seed, size])

        def draw() -> list[Case]:
            case = hidden[int(chance.integers(0, len(hidden)))]
            shown = tuple(items[at] for at in chance.choice(len(items), size, replace=False).tolist())
            return [blind(case, items=shown)]

        return draw

    batches = [
        Kind("" if size == 1 else f"batch: {size}", batch(size), seconds, MOST_CALLS if size == 1 else MOST_CALLS // 4)
        for size, seconds in zip(BATCHES, SECONDS, strict=True)
    ]
    lists = [
        Kind(f"candidates: {size:,}", listed(size), SECONDS_CANDIDATES, MOST_CALLS // 4)
        for size in CANDIDATES
        if size <= len(items)
    ]
    return batches, lists


def _latency(bench: Bench, kind: Kind) -> Iterator[Reading]:
    calls = len(kind.times)
    same = len(set(kind.pairs)) == 1
    text = "{calls} calls of {size} candidates" if same else "{calls} calls of {size} candidates on average"
    note = kind.skipped or said(text, calls=calls, size=round(float(np.mean(kind.pairs))))
    common: dict[str, Any] = {"segment": kind.name, "unit": "ms", "better": "lower"}
    yield _resampled(
        bench,
        [kind.times],
        lambda times: 1e3 * np.median(times, axis=-1),
        measure="latency p50",
        says="Median time of one call of the model in this process, without a network.",
        note=note,
        **common,
    )
    if calls >= LEAST_P99:
        yield _resampled(
            bench,
            [kind.times],
            lambda times: 1e3 * np.quantile(times, 0.99, axis=-1),
            measure="latency p99",
            says="99th percentile of the time of one call.",
            note=note if calls >= SURE_P99 else said("{note}: too few for an upper end", note=note),
            **common,
        )


def _per_shelf(bench: Bench, kind: Kind) -> Iterator[Reading]:
    """Throughput, energy and money, in the largest batches that were measured."""
    size = kind.shelves[0]
    text = "in batches of {size} shelves of {candidates:.0f} candidates, {calls} calls"
    note = said(text, size=size, candidates=np.mean(kind.pairs) / size, calls=len(kind.times))
    yield _resampled(
        bench,
        [kind.times, kind.pairs],
        lambda times, pairs: pairs.sum(axis=-1) / times.sum(axis=-1),
        measure="throughput",
        unit="pairs/s",
        better="higher",
        says="Candidates scored per second.",
        note=note,
    )
    read = kind.joules or [WATTS_PER_CORE * seconds for seconds in kind.cpu]
    how: Text = "read from the processor (RAPL), all that ran on the machine"
    yield _resampled(
        bench,
        [read, kind.shelves],
        lambda joules, shelves: 1_000 * joules.sum(axis=-1) / shelves.sum(axis=-1),
        measure="energy per 1,000 shelves",
        unit="J",
        better="lower",
        says="Energy of a thousand ranked lists, without a network and without encoding the items.",
        note=joined([note, how if kind.joules else BY_TIME]),
    )
    yield _resampled(
        bench,
        [kind.cpu, kind.shelves],
        lambda cpu, shelves: 1e6 * bench.price_per_core_hour / 3_600 * cpu.sum(axis=-1) / shelves.sum(axis=-1),
        measure="cost per million shelves",
        better="lower",
        says="Processor time of a million ranked lists at the price of a core's hour.",
        note=joined([note, said("{price:g} per core-hour", price=bench.price_per_core_hour)]),
    )


def _operations(bench: Bench, kind: Kind) -> Iterator[Reading]:
    """Operations of torch per shelf, and the share of what this machine can do; nothing where torch is not used."""
    cases = [case for _ in range(max(1, COUNTED // kind.shelves[0])) for case in kind.cases()]
    done = counted(lambda: bench.contender.score(cases))
    if not done:
        return
    pairs = sum(len(case.items) for case in cases)
    pace, most = done / pairs * sum(kind.pairs) / sum(kind.times), ceiling()
    yield Reading(
        measure="operations per shelf",
        dimension=NAME,
        value=done / len(cases) / 1e9,
        unit="GFLOP",
        better="lower",
        count=len(cases),
        says="Floating-point operations of torch's matrix products for one ranked list, items already encoded.",
        note=said(
            "{candidates:.0f} candidates; other libraries' and element-wise operations are not counted",
            candidates=pairs / len(cases),
        ),
    )
    yield Reading(
        measure="share of ceiling",
        dimension=NAME,
        value=pace / most,
        better=None,
        count=len(kind.times),
        says="Operations per second over those of a large matrix product on this machine.",
        note=said("{pace:.1f} of {most:.0f} GFLOP/s", pace=pace / 1e9, most=most / 1e9),
    )


def _fixed(bench: Bench) -> Iterator[Reading]:
    """What is known without calls: start-up, memory and bytes."""
    held = footprint(bench.contender)
    used = sum(1 for _ in bench.data.used())
    indexed = getattr(bench.contender, "indexed", used)
    start, cpu = bench.seconds["fit"], bench.seconds.get("fit_cpu", bench.seconds["fit"])
    rows: list[tuple[str, float, str, str, Text]] = [
        (
            "start-up",
            start,
            "s",
            "Time to load, to learn from the training part, and to encode or index the items, without imports.",
            said("once, {train:,} training cases, {items:,} items", train=len(bench.data.train), items=used),
        ),
        (
            "start-up energy",
            WATTS_PER_CORE * cpu,
            "J",
            "Energy to load, to learn from the training part, and to encode or index the items.",
            BY_TIME,
        ),
        (
            "peak memory",
            bench.peak_mb,
            "MB",
            "The most memory of the process up to the last score.",
            "data and libraries included",
        ),
        ("model size", held.models / 1e6, "MB", "Bytes of the parameters as they are held in memory.", ""),
        (
            "index per item",
            held.arrays / max(1, indexed),
            "B",
            "Bytes of all arrays besides the model's parameters, over the items that were encoded or indexed.",
            said("{items:,} items; Python's own dictionaries are not counted", items=indexed),
        ),
    ]
    for measure_name, value, unit, says, note in rows:
        yield Reading(
            measure=measure_name,
            dimension=NAME,
            value=optional(value),
            unit=unit,
            better="lower",
            count=1,
            says=says,
            note=note,
        )


def _resampled(
    bench: Bench, columns: Sequence[Sequence[float]], statistic: Callable[..., Any], **names: Any
) -> Reading:
    """A statistic of calls, with as many replicates as the bench has draws."""
    if not columns[0]:
        return Reading(dimension=NAME, value=None, **names)
    places = resampled(len(columns[0]), len(bench.resampling.weights) - 1, bench.seed)
    found: Numbers = statistic(*(np.asarray(column, np.float64)[places] for column in columns))
    calls = len(columns[0])
    drawn = found.tolist() if calls >= LEAST_CALLS else []
    return Reading(dimension=NAME, value=float(found[0]), replicates=drawn, count=calls, **names)


DIMENSION = Cost()
