"""Resource cost: time of a call, throughput, memory, bytes, operations, training, energy and money.

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
from evaluator.offline.cost import requests, service
from evaluator.offline.cost.calls import LEAST_CALLS, LEAST_P99, Kind, measure, resampled
from evaluator.offline.cost.energy import WATTS_PER_CORE, counter
from evaluator.offline.cost.footprint import footprint
from evaluator.offline.cost.operations import ceiling, counted
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Part, Reading, optional
from evaluator.offline.resampling import Numbers

NAME = "cost"

SECONDS = (2.0, 0.8, 0.8)
"""Seconds for the calls of one, of eight, and of sixty-four cases."""

SECONDS_OTHER = 0.5
"""Seconds for the calls of each number of candidates, and of short and of long texts."""

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
        data, seed, contender = bench.data, bench.seed, bench.contender
        joules, reference = counter(), Reference()
        batches = requests.batches(data, seed, SECONDS)
        measure(contender, batches, joules, reference)
        bench.progress(0.5)
        further = [*requests.lengths(data, seed, SECONDS_OTHER), *requests.lists(data, seed, SECONDS_OTHER)]
        measure(contender, further, joules, reference)
        bench.progress(0.9)
        largest = [kind for kind in batches if kind.times][-1]
        readings = [
            *(reading for kind in (*batches, *further) for reading in _latency(bench, kind)),
            *_per_shelf(bench, largest),
            *_operations(bench, largest),
            *_fixed(bench),
            *_training(bench),
            reference.reading(bench),
        ]
        calls = {kind.name or "one case": len(kind.times) for kind in (*batches, *further)}
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
        says = "Median time of sorting 20,000 numbers between the calls: how busy the machine was meanwhile."
        return _milliseconds(bench, self.times, 0.5, measure="reference p50", better=None, says=says)


def _latency(bench: Bench, kind: Kind) -> Iterator[Reading]:
    """The median and, of enough calls, the 99th percentile."""
    calls = len(kind.times)
    common: dict[str, Any] = {"segment": kind.name, "better": "lower"}
    says = "Median time of one call of the model in this process, without a network."
    yield _milliseconds(bench, kind.times, 0.5, measure="latency p50", says=says, note=kind.note, **common)
    if calls >= LEAST_P99:
        says = "99th percentile of the time of one call."
        note = kind.note if calls >= SURE_P99 else said("{note}: too few for an upper end", note=kind.note)
        yield _milliseconds(bench, kind.times, 0.99, measure="latency p99", says=says, note=note, **common)


def _milliseconds(bench: Bench, times: Sequence[float], at: float, **names: Any) -> Reading:
    """A quantile of times."""
    return _resampled(bench, [times], lambda drawn: 1e3 * np.quantile(drawn, at, axis=-1), unit="ms", **names)


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
    of = said("once, {train:,} training cases, {items:,} items", train=len(bench.data.train), items=used)
    says = "Time to load, to learn from the training part, and to encode or index the items, without imports."
    yield _once("start-up", start, "s", says, of)
    says = "Processor time of all cores to load, to learn from the training part, and to encode or index the items."
    yield _once("start-up CPU", cpu, "s", says, of)
    says = "Energy to load, to learn from the training part, and to encode or index the items."
    yield _once("start-up energy", WATTS_PER_CORE * cpu, "J", says, BY_TIME)
    says, note = "The most memory of the process up to the last score.", "data and libraries included"
    yield _once("peak memory", bench.peak_mb, "MB", says, note)
    yield _once("model size", held.models / 1e6, "MB", "Bytes of the parameters as they are held in memory.")
    says = "Bytes of all arrays besides the model's parameters, over the items that were encoded or indexed."
    counted_items = said("{items:,} items; Python's own dictionaries are not counted", items=indexed)
    yield _once("index per item", held.arrays / max(1, indexed), "B", says, counted_items)


def _training(bench: Bench) -> Iterator[Reading]:
    """What training took before this evaluation, where the contender tells; what learns in it does so at start-up."""
    took: Mapping[str, float] = getattr(bench.contender, "training", {})
    if "train_s" in took:
        yield _once("training", took["train_s"], "s", "Time of the training that made it.", "as its version tells")
    if "train_cpu_s" in took:
        cpu, says = took["train_cpu_s"], "Processor time of all cores of the training that made it."
        yield _once("training CPU", cpu, "s", says, "as its version tells")
        says = "Energy of the training that made it."
        yield _once("training energy", WATTS_PER_CORE * cpu, "J", says, BY_TIME)


def _once(measure: str, value: float, unit: str, says: str, note: Text = "") -> Reading:
    """A figure that was measured once, so that it has no interval."""
    return Reading(
        measure=measure,
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
