"""The whole story: cold start, learning, drift, alarm, repair, and the rollback of a bad model.

One function for each chapter, in order; each waits for what has to happen, and reports what does not.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from liveshelf.demo import catalogs
from liveshelf.demo.environment import DemoEnvironment, demo_environment
from liveshelf.demo.log import StoryLog
from liveshelf.demo.recorder import Kind
from liveshelf.demo.results import ALARM, FIRST, ROLLBACK, WINDOW_S, draw, overload, summary
from liveshelf.demo.shop import Shop
from liveshelf.demo.terminal_ui import Numbers, describe
from liveshelf.settings import Settings
from liveshelf.simulation.drift import Fashion
from liveshelf.stack.supervisor import Signals
from liveshelf.stack_record import StackError
from models.store.slots import CHALLENGER, CHAMPION
from streams.events.schema import Item

SHOPPERS, VISITS_PER_S, SEARCHES = 600, 80.0, 0.9
DRIFTS = Fashion(0.0, factor=0.1), Fashion(math.inf, factor=0.1)
"""Half of the brands are out of fashion from the beginning; later the other half is instead."""

ENOUGH = 400
"""The shop opens once this many items are encoded."""

READY_S, CLICK_S, LEARN_S, ALARM_S, REPAIR_S, CANARY_S = 300.0, 120.0, 300.0, 120.0, 300.0, 120.0
"""The most seconds that a chapter waits for what has to happen."""

STEADY_S = 15.0
TICK_S = 0.25
LINE_S = 5.0
RECOVERED = 0.95

HEADINGS = {
    "Cold start": "a worker loads BERT and encodes the catalogue",
    "It learns": "clicks train a model, and clicks decide on it",
    "Fashions change": "shoppers no longer like what they liked",
    "Repair": "a newer model passes gate and canary, and becomes champion",
    "Sabotage": "a model that reverses the order is forced past the gate",
    "Open": "the shop goes on until Ctrl-C",
}
"""What each chapter is about; with its title it fits into a line of a terminal."""


@dataclass
class Story:
    """The story while it runs.

    Attributes
    ----------
    missed
        What did not happen in time, and within how many seconds it was expected.
    title
        The current chapter.
    """

    environment: DemoEnvironment
    shop: Shop
    say: Callable[[str, str], None]
    stopped: Callable[[float], bool]
    log: StoryLog = field(default_factory=StoryLog)
    missed: dict[str, float] = field(default_factory=dict)
    title: str = ""
    _line_at: float = 0.0

    def run(self) -> bool:
        """Run the chapters until the end or until stopped; returns whether it reached the end."""
        for chapter in (self.cold_start, self.learning, self.drift, self.repair, self.bad_model):
            chapter()
            if self.stopped(0):
                return False
        return True

    def cold_start(self) -> None:
        """A worker loads BERT and encodes the catalogue; the shop opens with an untrained model."""
        self.announce("Cold start")
        wanted = min(len(self.shop.world.on_sale(self.shop.world.start_ms)), ENOUGH)
        if not self.until(lambda: self.numbers.items >= wanted, READY_S, f"{wanted} items encoded"):
            if self.stopped(0):
                return
            logs = ", ".join(str(role.log) for role in self.environment.supervisor.roles)
            raise StackError(f"The worker was not ready after {READY_S:.0f} s; its log says more: {logs}")
        self.shop.open()
        self.until(lambda: self.shop.moment is not None, CLICK_S, "a shelf after a click")
        if (moment := self.shop.moment) is not None:
            self.say("note", describe(moment))

    def learning(self) -> None:
        """There are enough examples for the shop's first own model."""
        self.chapter("It learns")
        self.until(lambda: self.champion() is not None, LEARN_S, FIRST)
        self.wait(STEADY_S)
        if self.stopped(0):
            return
        self.say("note", self.clicks(WINDOW_S))

    def drift(self) -> None:
        """Fashions change; an alarm fires."""
        self.chapter("Fashions change")
        self.mark("drift", "half of the brands go out of fashion, the other half comes back")
        self.shop.drift(1)
        began = self.shop.second
        if self.until(lambda: self.shop.recorder.first("alarm", began) is not None, ALARM_S, ALARM):
            alarm = self.shop.recorder.first("alarm", began)
            assert alarm is not None
            shown = self.shop.recorder.impressions(began, alarm.at_s)
            self.say("note", f"alarm after {alarm.at_s - began:.0f} s and {shown:,} impressions")

    def repair(self) -> None:
        """Models are trained on current events, until the shop is as good as before."""
        self.chapter("Repair")
        drifted = self.at("drift")
        before = self.shop.recorder.of_oracle(drifted - WINDOW_S, drifted)

        def recovered() -> bool:
            now = self.shop.second
            promoted = self.shop.recorder.first("promoted", drifted)
            return promoted is not None and self.shop.recorder.of_oracle(now - WINDOW_S, now) >= RECOVERED * before

        if self.until(recovered, REPAIR_S, f"{RECOVERED:.0%} of what was reached before"):
            self.mark("recovered", f"{RECOVERED:.0%} of what was reached before")

    def bad_model(self) -> None:
        """A bad model is forced past the gate; the clicks of shoppers cause its rollback."""
        self.until(lambda: self.challenger() is None, REPAIR_S, "the end of the running canary")
        if self.stopped(0):
            return
        self.chapter("Sabotage")
        from liveshelf.demo.sabotage import sabotage  # imports torch, which takes seconds

        champion, began = self.champion(), self.shop.second
        bad = sabotage(self.environment.store)
        self.environment.promote(bad, "pushed past the gate, on purpose", CHALLENGER, share=0.5)
        if self.until(lambda: bad in self.log.ends, CANARY_S, ROLLBACK):
            self.ended(self.log.ends[bad], champion, began)
        self.wait(STEADY_S / 2)

    def ended(self, how: Kind, champion: str | None, began: float) -> None:
        """Say how the bad model ended, and what serves since; only a rollback is what had to happen."""
        after, shown = self.shop.second - began, self.shop.recorder.impressions(began, self.shop.second)
        kept = "the champion stays" if champion else "the untrained weights stay"
        serves = kept if self.champion() == champion else "ANOTHER MODEL IS CHAMPION"
        words = f"{how} after {after:.0f} s, {shown:,} impressions: {serves}"
        if how == "rolled back":
            self.say("note", words)
        else:
            self.missed[ROLLBACK] = CANARY_S
            self.say("missed", f"not rolled back: {words}")

    @property
    def numbers(self) -> Numbers:
        """The worker's recent numbers."""
        return Numbers.of(self.shop.listener.lately)

    def champion(self) -> str | None:
        """The champion's version; None while no model was ever promoted."""
        current = self.environment.store.slots.read(CHAMPION).current
        return current.version if current else None

    def challenger(self) -> str | None:
        """The challenger's version; None without one."""
        current = self.environment.store.slots.read(CHALLENGER).current
        return current.version if current else None

    def clicks(self, seconds: float) -> str:
        """The click rate and the share of the possible in the last seconds, as text."""
        now = self.shop.second
        rate, low, high = self.shop.recorder.ctr(now - seconds, now)
        if math.isnan(rate):
            return f"no impressions in these {seconds:.0f} s"
        words = f"click rate {rate:.2%} ({low:.2%} to {high:.2%})"
        share = self.shop.recorder.of_oracle(now - seconds, now)
        return words if math.isnan(share) else f"{words}, {share:.0%} of the possible"

    def at(self, kind: Kind) -> float:
        """The time of the first event of a kind; now if there is none."""
        mark = self.shop.recorder.first(kind)
        return mark.at_s if mark else self.shop.second

    def chapter(self, title: str) -> None:
        """Begin a chapter of the open shop."""
        self.mark("chapter", title)
        self.announce(title)

    def announce(self, title: str) -> None:
        """Say which chapter begins."""
        self.title = title
        self.say("chapter", f"{title}: {HEADINGS[title]}")

    def mark(self, kind: Kind, text: str) -> None:
        """Record an event, now."""
        self.shop.recorder.mark(self.shop.second, kind, text)

    def wait(self, seconds: float) -> None:
        """Wait, and keep the demo running."""
        ends = time.monotonic() + seconds
        self._while(lambda: time.monotonic() < ends)

    def until(self, happened: Callable[[], bool], limit_s: float, what: str) -> bool:
        """Wait until something has happened; returns whether it did in time."""
        ends = time.monotonic() + limit_s
        self._while(lambda: not happened() and time.monotonic() < ends)
        if happened():
            return True
        if not self.stopped(0):
            self.missed[what] = limit_s
            self.say("missed", f"not within {limit_s:.0f} s: {what}")
        return False

    def _while(self, goes_on: Callable[[], bool]) -> None:
        while goes_on() and not self.stopped(TICK_S):
            self.environment.supervisor.tick()
            self.shop.check()
            for news in self.shop.listener.news():
                for entry in self.log.update(news):
                    self.mark(entry.kind, entry.text)
                    self.say(entry.kind, entry.text)
            if time.monotonic() >= self._line_at and self.shop.is_open:
                self._line_at = time.monotonic() + LINE_S
                self.say("line", self._line())

    def _line(self) -> str:
        trainer = self.log.trainer
        stage = trainer.labels.get("stage", "") if trainer else ""
        progress = f"{stage}, " if stage not in ("", "idle") else ""
        progress += f"{trainer.gauges.get('new_examples', 0):,.0f} new examples" if trainer else "no trainer yet"
        return f"{self.clicks(LINE_S)}; {progress}"


COLOURS = {
    "chapter": "bold",
    "drift": "bold red",
    "alarm": "red",
    "missed": "red",
    "promoted": "bold green",
    "rolled back": "magenta",
    "refused": "magenta",
    "too few examples": "magenta",
    "line": "dim",
    "note": "cyan",
}


def run_story(settings: Settings, *, seed: int, keep: bool, out: Path, console: Console) -> int:
    """Run the story, for ``liveshelf demo``. Call it from the main thread.

    Parameters
    ----------
    seed
        The seed of the catalogue and the shoppers.
    keep
        Keep the shop running after the last chapter, until Ctrl-C.
    out
        The file for the picture of the run.

    Returns
    -------
    int
        0 when everything happened in time, 1 when something did not; after a signal 128 plus its number, such as 130
        for Ctrl-C.

    Raises
    ------
    StackError
        When a server or the worker does not start, or another demo runs in the same folder.
    """
    logging.getLogger("kafka").setLevel(logging.ERROR)  # errors that it recovers from would disturb the output
    began = time.monotonic()
    items = catalogue(seed)

    def say(kind: str, text: str) -> None:
        if kind == "chapter":
            console.rule(Text(text, style="bold"), align="left")
            return
        at = f"{time.monotonic() - began:4.0f} s "
        console.print(Text.assemble((at, "dim"), (text, COLOURS.get(kind, ""))), soft_wrap=True)

    with Signals() as signals:
        try:
            with demo_environment(settings, "demo", lambda message: say("line", message)) as there:
                shop = Shop(
                    there.settings, items, seed, shoppers=SHOPPERS, per_s=VISITS_PER_S, drifts=DRIFTS, searches=SEARCHES
                )
                story = Story(there, shop, say, signals.wait)
                signals.calm = True
                say("note", f"the live page is at {there.page}")
                with shop.running(), quiet_closing():
                    whole = story.run()
                    if keep and whole:
                        story.chapter("Open")
                        story.wait(float("inf"))
                    say("line", "closing")
        except KeyboardInterrupt:
            console.print("Stopped before everything was up")
            return signals.exit_code
    draw(shop.recorder, out)
    loaded = overload(os.getloadavg()[0], os.cpu_count() or 1) if story.missed else ""
    console.print(summary(story.shop, began, story.missed, "" if whole else story.title, loaded))
    console.print(Text(f"The whole run as a picture: {out}"), soft_wrap=True)
    if not whole:
        return signals.exit_code
    return 0 if shop.first_shelf_at is not None and not story.missed else 1


@contextmanager
def quiet_closing() -> Iterator[None]:
    """Drop errors that kafka-python's connections log after the block: they read from sockets that it has closed."""
    try:
        yield
    finally:
        logging.getLogger("kafka.net.transport").setLevel(logging.CRITICAL)


def catalogue(seed: int) -> list[Item]:
    """Icecat's items if the folder ``LIVESHELF_DATA`` has them, else generated ones."""
    folder = os.environ.get("LIVESHELF_DATA")
    if folder and (Path(folder) / catalogs.ICECAT).is_file():
        return catalogs.icecat(Path(folder))
    return catalogs.made_up(seed)
