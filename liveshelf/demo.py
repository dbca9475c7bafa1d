"""The demo: a local stack, a catalogue, simulated shoppers, and what their events change, live.

It always uses servers of its own, in a folder of its own that begins empty, so it disturbs nobody's data.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.live import Live
from rich.table import Table

from liveshelf import catalogues
from liveshelf.roles import worker_roles
from liveshelf.screen import Moment, Numbers, picture, told
from liveshelf.settings import Settings
from liveshelf.shop import SHOPPERS, Shop
from liveshelf.stack.errors import StackError
from liveshelf.stack.record import clear_leftovers, locked
from liveshelf.stack.servers import stack
from liveshelf.stack.supervisor import Signals, Supervisor
from streams import topics
from streams.config import KafkaConfig, RedisConfig
from streams.events import Item

READY_S = 300.0
"""How long a worker may take to load its model and encode the catalogue."""

ENOUGH = 400
"""Encoded items that the shop opens with; the rest of the catalogue comes while people shop."""

TICK_S = 0.25
PLAIN_EVERY_S = 3.0


def run_demo(settings: Settings, *, minutes: float, keep: bool, seed: int, console: Console) -> int:
    """Run the demo; what ``liveshelf demo`` does. Call it from the main thread.

    Parameters
    ----------
    minutes
        How long the shoppers shop, not counting the start.
    keep
        Shop until Ctrl-C instead.
    seed
        Of the catalogue and the shoppers.

    Returns
    -------
    int
        0 when at least one shelf was seen, also after Ctrl-C; 1 when none was.

    Raises
    ------
    StackError
        When a server or the worker does not start, or another demo runs in the same folder.
    """
    began = time.monotonic()
    logging.getLogger("kafka").setLevel(logging.ERROR)  # what it mends by itself would tear the screen
    items = catalogue(seed)
    with Signals() as signals:
        try:
            with _running(settings, console) as (here, supervisor):
                shop = Shop(here, items, seed)
                signals.calm = True
                with shop.staffed():
                    _perform(shop, supervisor, signals.stop, None if keep else minutes * 60, console)
                console.print("Closing")
        except KeyboardInterrupt:
            console.print("Stopped before everything was up")
            return 1
    console.print(summary(shop, began))
    return 0 if shop.first_shelf_at is not None else 1


def catalogue(seed: int) -> list[Item]:
    """Real items where ``LIVESHELF_DATA`` names a folder that has them, else made-up ones."""
    folder = os.environ.get("LIVESHELF_DATA")
    if folder and (Path(folder) / catalogues.ICECAT).is_file():
        return catalogues.icecat(Path(folder))
    return catalogues.made_up(seed)


def summary(shop: Shop, began: float) -> Table:
    """What was done and how fast; ``began`` on the monotonic clock."""
    table = Table("", "", title="The demo in numbers", show_header=False)
    numbers = Numbers.of([snapshot for snapshot in shop.snapshots if snapshot.counts.get("events")])
    first = shop.first_shelf_at
    table.add_row("first shelf", f"{first - began:.1f} s after the start" if first is not None else "none")
    table.add_row("items encoded", str(numbers.items))
    table.add_row("events", ", ".join(f"{count} {kind}" for kind, count in shop.sent.most_common()))
    table.add_row("rate", f"{numbers.events:.0f} events/s, {numbers.shelves:.0f} shelves/s")
    table.add_row("event to shelf", f"median {numbers.p50:.1f} ms, 99 % {numbers.p99:.1f} ms")
    if shop.took_ms:
        middle = sorted(shop.took_ms)[len(shop.took_ms) // 2]
        table.add_row("click to new feed", f"median {middle:.1f} ms over {len(shop.took_ms)} watched clicks")
    return table


@contextmanager
def _running(settings: Settings, console: Console) -> Iterator[tuple[Settings, Supervisor]]:
    """Servers with topics, and a worker on its way, in an emptied folder."""
    config = settings.stack.model_copy(update={"folder": settings.stack.folder / "demo"})
    with locked(config.folder):
        clear_leftovers(config.folder)
        for name in ("kafka", "redis", "logs"):
            shutil.rmtree(config.folder / name, ignore_errors=True)

    def say(message: str) -> None:
        console.print(message, markup=False, highlight=False, soft_wrap=True)

    say(f"1/4 Starting Kafka and Redis in {config.folder}")
    with stack(config, say=say) as servers:
        kafka = KafkaConfig(bootstrap_servers=servers.bootstrap_servers)
        redis = RedisConfig(url=SecretStr(servers.redis_url))
        here = settings.model_copy(update={"stack": config, "kafka": kafka, "redis": redis})
        topics.create(here.kafka, here.topics)
        plain = {"LIVESHELF_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT"}  # whatever a shop's own broker may want
        roles = [replace(role, env={**role.env, **plain}) for role in worker_roles(1)]
        with Supervisor(servers, roles, say=say, stop_timeout_s=config.stop_timeout_s) as supervisor:
            yield here, supervisor


def _perform(
    shop: Shop, supervisor: Supervisor, stop: threading.Event, seconds: float | None, console: Console
) -> None:
    """From a worker that starts to shoppers who leave; returns when the time is over or ``stop`` is set."""
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    show = _redrawn(shop, live) if live is not None else _lines(shop, console)
    ready_by, ends = time.monotonic() + READY_S, float("inf")
    block: AbstractContextManager[object] = live or nullcontext()
    with block:
        while not stop.wait(TICK_S):
            supervisor.tick()
            shop.check()
            now = time.monotonic()
            if not shop.open.is_set():
                if now > ready_by:
                    logs = ", ".join(str(role.log) for role in supervisor.roles)
                    raise StackError(f"The worker was not ready after {READY_S:.0f} s; its log says more: {logs}")
                wanted, encoded = len(shop.world.on_sale(shop.world.start_ms)), shop.numbers.items
                if encoded >= min(wanted, ENOUGH):
                    shop.open.set()
                    ends = now + seconds if seconds is not None else ends
                elif shop.snapshots:
                    show(f"3/4 Encoding the catalogue, once: {encoded} of {wanted} items; the shop opens at {ENOUGH}")
                else:
                    show("2/4 Starting a worker: it loads BERT")
            elif now < ends:
                left = "Ctrl-C ends it" if seconds is None else f"{ends - now:.0f} s left"
                show(f"4/4 {SHOPPERS} shoppers are in the shop; {left}")
            else:
                return


def _redrawn(shop: Shop, live: Live) -> Callable[[str], None]:
    """Shows on a terminal: one picture, drawn anew."""
    items = shop.world.items

    def show(chapter: str) -> None:
        live.update(picture(chapter, shop.numbers, shop.moment, shop.search, items), refresh=True)

    return show


def _lines(shop: Shop, console: Console) -> Callable[[str], None]:
    """Shows where nothing can be drawn anew: a line at every step and every few seconds."""
    last = ""
    due = 0.0
    moment: Moment | None = None

    def show(chapter: str) -> None:
        nonlocal last, due, moment
        if shop.moment is not None and shop.moment is not moment:
            moment = shop.moment
            console.print(told(moment), markup=False, highlight=False, soft_wrap=True)
        if chapter[0] != last[:1] or time.monotonic() >= due:
            last, due = chapter, time.monotonic() + PLAIN_EVERY_S
            numbers = f": {shop.numbers.line()}" if shop.open.is_set() else ""
            console.print(chapter + numbers, markup=False, highlight=False, soft_wrap=True)

    return show
