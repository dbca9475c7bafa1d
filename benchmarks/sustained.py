"""Which rate of events does one worker sustain on one core, and how late are its shelves below that?

``python -m benchmarks.sustained --json F``. *Sustained* is the highest rate of an open loop at which the queue's 99th
percentile, from a record's timestamp to the worker taking it, stays below 100 ms for two minutes. The worker has a core
of its own; Kafka, Redis and the generator of events share the others. Queries are all distinct, or the same read by
three layers in int8 (*small encoder*, where OpenVINO is installed), or 2,000 by Zipf's law. ``--before`` names another
checkout of the project: its worker takes its turn with the same servers. ``--workers`` says how much so many workers
take from a backlog, on any core, and what the servers take for it.
"""

import math
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from benchmarks.end_to_end import Events, Run, busy, goods, latencies
from benchmarks.query_encoder import cut
from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.settings import StackConfig
from liveshelf.stack.servers import stack
from models.encoder import Encoder
from models.late_interaction import HeadConfig, LateInteraction
from models.store import Data, Description, ModelStore
from models.weights import PACKAGED, fingerprint, resolve
from streams.telemetry.meter import Snapshot, quantiles

QUEUE_MS = 100.0
QUERIES = 2_000
SHOPPERS = 5_000
"""At 200 events a second each of them acts every 25 s, as in a visit."""
STEP = 1.06
"""A rate is found to within this factor."""

LEAST, MOST = 5.0, 1.5
"""Less than so many events a second is nothing that is sustained; nor is more than this part of the maximum."""

DISTINCT, SMALL, ZIPF = KINDS = ("distinct", "small encoder", "Zipf")
BEFORE = "before"
SMALL_LAYERS = 3

LOWER = 3.0
"""What is held for the whole time is sought from this part of what is held for a short one."""

RATES = (160.0,)
"""At these, and at half of what is sustained, the latency is told."""

AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
"""Where Linux says whether it schedules sessions as groups: servers in sessions of their own then starve at times."""

console = Console(stderr=True)
Shop = list[tuple[str, dict[str, str]]]


class Trial:
    """One kind of worker and of traffic: its maximum from a backlog, what it sustains, how late its shelves are."""

    def __init__(self, report: Report, name: str, run: Run, events: Events) -> None:
        self.report, self.name, self.run, self.events = report, name, run, events

    def measure(self, process: psutil.Process, backlog: int, probe_s: float, seconds: float, step: float) -> None:
        """Rows of the report."""
        self.run.backlog([process], self.events, max(1, backlog // 6))
        cost = self.run.backlog([process], self.events, backlog)
        most = 1000 / cost.ms
        self.report.row(part="maximum", **self._told("backlog", most), processor_ms_an_event=round(cost.cpu_ms, 3))
        held = self.sustained(most, probe_s, seconds, step)
        self.report.row(part="sustained", **self._told("sustained", held))
        for what, rate in (*((f"{rate:g} a second", rate) for rate in RATES), ("half of what is sustained", held / 2)):
            if rate < held:
                self.late(what, rate, self.run.paced(self.events, rate, probe_s))

    def sustained(self, most: float, probe_s: float, seconds: float, step: float) -> float:
        """The highest rate that is sustained, 0 for none: sought by short loads, then by loads of the whole length."""
        probed = highest(lambda rate: self._holds(rate, probe_s), LEAST, MOST * most, step**2)
        if not probed:
            return 0.0
        return highest(lambda rate: self._holds(rate, seconds, "sustained"), probed / LOWER, probed * step, step)

    def _holds(self, rate: float, seconds: float, what: str = "") -> bool:
        taken = self.run.paced(self.events, rate, seconds)
        [queue] = quantiles(taken, "queue", (0.99,))
        console.print(f"{self.name}: {rate:.0f} events/s for {seconds:g} s, p99 of the queue {queue:.0f} ms")
        if what and queue < QUEUE_MS:
            self.late(what, rate, taken)
        return queue < QUEUE_MS

    def late(self, what: str, rate: float, taken: list[Snapshot]) -> None:
        """A row of latencies."""
        [queue] = quantiles(taken, "queue", (0.99,))
        figures = latencies(taken) | {"queue_p99_ms": round(queue, 1)}
        self.report.row(part="latency", **self._told(what, rate), **figures)

    def _told(self, what: str, rate: float) -> dict[str, str | float]:
        return {"worker": self.name, "what": what, "events_per_s": round(rate, 1)}


def highest(holds: Callable[[float], bool], low: float, high: float, step: float) -> float:
    """The highest rate that was tried and holds, to within a factor, by halving; 0 where none does.

    Examples
    --------
    >>> 140 < highest(lambda rate: rate < 150, 5.0, 600.0, 1.06) < 150
    True
    >>> highest(lambda rate: False, 5.0, 600.0, 1.06)
    0.0
    """
    found = 0.0
    while high / low > step:
        middle = math.sqrt(low * high)
        if holds(middle):
            low = found = middle
        else:
            high = middle
    return found


def several(report: Report, run: Run, shop: Shop, most: int, backlog: int) -> None:
    """What one, two, … workers take from a backlog, and the processor time of all that takes part."""
    servers = psutil.Process().children(recursive=True)
    brokers = [one for one in servers if one.name() == "java"]
    stores = [one for one in servers if "redis" in one.name()]
    for count in range(1, most + 1):
        with run.workers(shop, count) as processes:
            events = Events(shop, 10 + count, shoppers=SHOPPERS)
            run.backlog(processes, events, max(1, backlog // 6))
            before = busy(brokers), busy(stores)
            cost = run.backlog(processes, events, backlog)
            kafka, redis = busy(brokers) - before[0], busy(stores) - before[1]
        report.row(
            part="workers",
            workers=count,
            events_per_s=round(1000 / cost.ms, 1),
            worker_ms_an_event=round(cost.cpu_ms, 3),
            kafka_ms_an_event=round(kafka / backlog * 1000, 3),
            redis_ms_an_event=round(redis / backlog * 1000, 3),
        )


def small_encoder(folder: Path) -> dict[str, str]:
    """Settings of a worker whose queries are read by three layers in int8: as quick as distilled ones, not as good."""
    encoder, files = Encoder(), folder / "version"
    cut(SMALL_LAYERS, files / "query_encoder")
    LateInteraction(HeadConfig(dim=encoder.dim, token_dim=encoder.token_dim)).save(files / "head")
    about = Description(
        method="query_encoder",
        architecture="late_interaction",
        encoder=PACKAGED,
        encoder_fingerprint=fingerprint(resolve(PACKAGED)),
        data=Data("none", 0),
    )
    store = ModelStore(str(folder / "models"))
    return {
        "LIVESHELF_MODEL__STORE": str(store.storage.root),
        "LIVESHELF_MODEL__VERSION": store.put(files, about).id,
        "LIVESHELF_MODEL__QUERY_ENGINE": "openvino",
    }


def apart() -> int | None:
    """Keep the first core for workers; everything else that is started from now on has the others. None where the
    system cannot do that, or has but one core."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return None
    os.sched_setaffinity(0, others)
    return first


@smoke(items=40, backlog=60, probe_s=1.0, seconds=1.0, step=3.0, only=[SMALL], workers=1)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    items: Annotated[int, typer.Option(help="Size of the catalogue.")] = 2_000,
    backlog: Annotated[int, typer.Option(help="Events of a backlog.")] = 6_000,
    probe_s: Annotated[float, typer.Option(help="Length of each load but that which counts, seconds.")] = 15.0,
    seconds: Annotated[float, typer.Option(help="Length of the load that counts, seconds.")] = 120.0,
    step: Annotated[float, typer.Option(min=1.01, help="A rate is found to within this factor.")] = STEP,
    before: Annotated[Path | None, typer.Option(help="A checkout to measure first.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these: distinct, small encoder, Zipf.")] = None,
    workers: Annotated[int, typer.Option(help="At most so many workers take from a backlog.")] = 3,
) -> None:
    """Measure; about a quarter of an hour for each kind of traffic."""
    if unknown := sorted({*(only or ())} - {*KINDS}):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(KINDS)}", param_hint="--only")
    if only == [SMALL] and not find_spec("openvino"):
        raise typer.BadParameter('it needs OpenVINO: pip install "liveshelf[openvino]"', param_hint="--only")
    shop = goods(items)
    report = Report(
        "sustained", items=items, shoppers=SHOPPERS, backlog=backlog, seconds=seconds, queue_p99_ms=QUEUE_MS
    )
    everywhere = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    core = apart()
    report.facts["worker_has_a_core"] = core is not None
    report.facts["sessions_are_groups"] = grouped = AUTOGROUP.exists() and AUTOGROUP.read_text().strip() == "1"
    if grouped:
        console.print(
            "Linux schedules each session as a group, and Kafka, Redis and the generator share a core: they may then "
            "stand still for seconds. sysctl kernel.sched_autogroup_enabled=0 avoids it."
        )
    with tempfile.TemporaryDirectory() as folder, stack(StackConfig(folder=Path(folder)), say=console.print) as servers:
        where = servers.bootstrap_servers, servers.redis_url
        kinds = [one for one in KINDS if one in (only or KINDS) and (one != SMALL or find_spec("openvino"))]
        for number, kind in enumerate(kinds if before is None else (BEFORE, *kinds)):
            code = before if kind == BEFORE else None
            run = Run(where, f"sustained{number}", 1 + number, "late_interaction", code, core)
            run.env |= small_encoder(Path(folder)) if kind == SMALL else {}
            queries = QUERIES if kind == ZIPF else None
            with run.worker(shop) as process:
                trial = Trial(report, kind, run, Events(shop, 1, queries, SHOPPERS))
                trial.measure(process, backlog, probe_s, seconds, step)
        if everywhere is not None:
            for one in (psutil.Process(), *psutil.Process().children(recursive=True)):
                for thread in one.threads():
                    os.sched_setaffinity(thread.id, everywhere)
        several(report, Run(where, "several", 9, "late_interaction"), shop, workers, backlog)
    report.write(json_path)


if __name__ == "__main__":
    typer.run(main)
