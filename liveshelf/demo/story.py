"""The story from its beginning to its end: cold start, learning, drift, alarm, repair, and a bad model taken back.

One function a chapter, in their order; each waits for what has to happen, and says so when it does not.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from liveshelf.demo import catalogs
from liveshelf.demo.environment import DemoEnvironment, demo_environment
from liveshelf.demo.log import StoryLog
from liveshelf.demo.recorder import Kind
from liveshelf.demo.results import WINDOW_S, draw, summary
from liveshelf.demo.shop import Shop
from liveshelf.demo.terminal_ui import Numbers, told
from liveshelf.settings import Settings
from liveshelf.simulation.drift import Fashion
from liveshelf.stack.supervisor import Signals
from liveshelf.stack_record import StackError
from liveshelf.terminal import NONE, figure
from models.store.slots import CHALLENGER, CHAMPION
from streams.events.schema import Item

SHOPPERS, VISITS_PER_S, SEARCHES = 600, 80.0, 0.9
DRIFTS = Fashion(0.0, factor=0.1), Fashion(math.inf, factor=0.1)
"""Half of the brands are out of fashion from the beginning; the other half is from when the story says so."""

ENOUGH = 400
"""Encoded items that the shop opens with."""

READY_S, CLICK_S, LEARN_S, ALARM_S, REPAIR_S, TRIAL_S = 300.0, 120.0, 300.0, 120.0, 300.0, 120.0
"""How long the chapters wait for what has to happen."""

STEADY_S = 15.0
TICK_S = 0.25
LINE_S = 5.0
RECOVERED = 0.95


@dataclass
class Story:
    """The story as far as it has come.

    Attributes
    ----------
    missed
        What did not happen in its time.
    title
        The chapter that it is in.
    """

    environment: DemoEnvironment
    shop: Shop
    say: Callable[[str, str], None]
    stopped: Callable[[float], bool]
    notes: StoryLog = field(default_factory=StoryLog)
    missed: list[str] = field(default_factory=list)
    title: str = ""
    _line_at: float = 0.0

    def tell(self) -> bool:
        """All chapters, or as many as there are until it is stopped; whether they were told to the end."""
        for chapter in (self.cold_start, self.learning, self.drift, self.repair, self.bad_model):
            chapter()
            if self.stopped(0):
                return False
        return True

    def cold_start(self) -> None:
        """A worker loads BERT and encodes the catalogue; the shop opens, and nobody knows what is in fashion."""
        self.title = "Cold start"
        self.say("chapter", "Cold start: a worker loads BERT and encodes the catalogue")
        wanted = min(len(self.shop.world.on_sale(self.shop.world.start_ms)), ENOUGH)
        if not self.until(lambda: self.numbers.items >= wanted, READY_S, f"{wanted} items encoded"):
            if self.stopped(0):
                return
            logs = ", ".join(str(role.log) for role in self.environment.supervisor.roles)
            raise StackError(f"The worker was not ready after {READY_S:.0f} s; its log says more: {logs}")
        self.shop.open()
        self.until(lambda: self.shop.moment is not None, CLICK_S, "a shelf after a click")
        if (moment := self.shop.moment) is not None:
            self.say("note", told(moment))

    def learning(self) -> None:
        """Enough examples: the first model of the shop's own."""
        self.chapter("It learns: what is clicked becomes examples, examples a model, shoppers its judges")
        self.until(lambda: self.champion() is not None, LEARN_S, "a first model in charge")
        self.wait(STEADY_S)
        if self.stopped(0):
            return
        since = self.shop.second - WINDOW_S
        self.say("note", f"click rate {self.rate(since)}, {self.share(since)} of what is possible")

    def drift(self) -> None:
        """Fashions change; the alarm finds out."""
        self.chapter("Fashions change: what shoppers liked they like no longer")
        self.mark("drift", "half of the brands are out, the other half is in again")
        self.shop.drift(1)
        began = self.shop.second
        if self.until(lambda: self.shop.tape.first("alarm", began) is not None, ALARM_S, "an alarm"):
            alarm = self.shop.tape.first("alarm", began)
            assert alarm is not None
            shown = self.shop.tape.impressions(began, alarm.at_s)
            self.say("note", f"alarm after {alarm.at_s - began:.0f} s and {shown:,} impressions")

    def repair(self) -> None:
        """Models trained on what happens now, until the shop is as good as it was."""
        self.chapter("Repair: fine-tune, gate, canary, and whoever is better is in charge")
        drifted = self.at("drift")
        before = self.shop.tape.of_oracle(drifted - WINDOW_S, drifted)

        def recovered() -> bool:
            now = self.shop.second
            promoted = self.shop.tape.first("promoted", drifted)
            return promoted is not None and self.shop.tape.of_oracle(now - WINDOW_S, now) >= RECOVERED * before

        self.until(recovered, REPAIR_S, f"{RECOVERED:.0%} of what was reached before")

    def bad_model(self) -> None:
        """Somebody forces a bad model in front of shoppers; shoppers' clicks take it back."""
        self.until(lambda: self.challenger() is None, REPAIR_S, "an end to the trial that goes on")
        if self.stopped(0):
            return
        self.chapter("Sabotage: a model that likes best what nobody wants is forced past the gate")
        from liveshelf.demo.sabotage import sabotage  # brings torch, which takes seconds

        champion, began = self.champion(), self.shop.second
        bad = sabotage(self.environment.store)
        self.environment.promote(bad, "pushed past the gate, on purpose", CHALLENGER, share=0.5)
        if self.until(lambda: self.challenger() != bad, TRIAL_S, "an end to the bad model"):
            kept = "the champion stays" if self.champion() == champion else "ANOTHER MODEL IS IN CHARGE"
            shown = self.shop.tape.impressions(began, self.shop.second)
            self.say("note", f"taken back after {self.shop.second - began:.0f} s, {shown:,} impressions in all: {kept}")
        self.wait(STEADY_S / 2)

    @property
    def numbers(self) -> Numbers:
        """The worker's, lately."""
        return Numbers.of(self.shop.watching.lately)

    def champion(self) -> str | None:
        """The version in charge; None while no model was ever promoted."""
        current = self.environment.store.slots.read(CHAMPION).current
        return current.version if current else None

    def challenger(self) -> str | None:
        """The version on trial."""
        current = self.environment.store.slots.read(CHALLENGER).current
        return current.version if current else None

    def rate(self, since_s: float) -> str:
        """The click rate from a moment on, in words."""
        rate, low, high = self.shop.tape.ctr(since_s, self.shop.second)
        return NONE if math.isnan(rate) else f"{rate:.2%} ({low:.2%} to {high:.2%})"

    def share(self, since_s: float) -> str:
        """What of the possible is reached from a moment on, in words."""
        return figure(self.shop.tape.of_oracle(since_s, self.shop.second), ".0%")

    def at(self, kind: Kind) -> float:
        """When something happened first."""
        mark = self.shop.tape.first(kind)
        return mark.at_s if mark else self.shop.second

    def chapter(self, text: str) -> None:
        """Begin a chapter."""
        self.title = text.partition(":")[0]
        self.mark("chapter", self.title)
        self.say("chapter", text)

    def mark(self, kind: Kind, text: str) -> None:
        """Note a moment of now."""
        self.shop.tape.mark(self.shop.second, kind, text)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ends = time.monotonic() + seconds
        self._while(lambda: time.monotonic() < ends)

    def until(self, happened: Callable[[], bool], limit_s: float, what: str) -> bool:
        """Let time pass until something has happened; whether it did in its time."""
        ends = time.monotonic() + limit_s
        self._while(lambda: not happened() and time.monotonic() < ends)
        if happened():
            return True
        if not self.stopped(0):
            self.missed.append(what)
            self.say("missed", f"not within {limit_s:.0f} s: {what}")
        return False

    def _while(self, goes_on: Callable[[], bool]) -> None:
        while goes_on() and not self.stopped(TICK_S):
            self.environment.supervisor.tick()
            self.shop.check()
            for news in self.shop.watching.news():
                for note in self.notes.update(news):
                    self.mark(note.kind, note.text)
                    self.say(note.kind, note.text)
            if time.monotonic() >= self._line_at and self.shop.is_open:
                self._line_at = time.monotonic() + LINE_S
                self.say("line", self._line())

    def _line(self) -> str:
        now = self.shop.second
        trainer = self.notes.trainer
        stage = trainer.labels.get("stage", "") if trainer else ""
        told = f"{stage}, " if stage not in ("", "idle") else ""
        told += f"{trainer.gauges.get('new_examples', 0):,.0f} new examples" if trainer else "no trainer yet"
        since = now - LINE_S
        return f"click rate {self.rate(since)}, {self.share(since)} of the possible; {told}"


COLOURS = {
    "chapter": "bold",
    "drift": "bold red",
    "alarm": "red",
    "missed": "red",
    "promoted": "bold green",
    "rolled back": "magenta",
    "refused": "magenta",
    "line": "dim",
    "note": "cyan",
}


def run_story(settings: Settings, *, seed: int, keep: bool, out: Path, console: Console) -> int:
    """Run the story; what ``liveshelf demo`` does. Call it from the main thread.

    Parameters
    ----------
    seed
        Of the catalogue and the shoppers.
    keep
        Let the shop go on after the last chapter, until Ctrl-C.
    out
        Where the picture of the run goes.

    Returns
    -------
    int
        0 when everything happened in its time, 1 when something did not, and 128 and the signal's number, as 130
        after Ctrl-C, when a signal broke the story off.

    Raises
    ------
    StackError
        When a server or the worker does not start, or another demo runs in the same folder.
    """
    logging.getLogger("kafka").setLevel(logging.ERROR)  # what it mends by itself would tear the screen
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
                story = Story(there, shop, say, signals.stop.wait)
                signals.calm = True
                say("note", f"the live page is at {there.page}")
                with shop.staffed():
                    whole = story.tell()
                    if keep and whole:
                        story.chapter("The shop stays open until Ctrl-C")
                        story.wait(float("inf"))
                    say("line", "closing")
        except KeyboardInterrupt:
            console.print("Stopped before everything was up")
            return signals.exit_code
    draw(shop.tape, out, "A shop that learns, drifts and recovers")
    console.print(summary(story.shop, began, story.missed, "" if whole else story.title))
    console.print(Text(f"The whole run as a picture: {out}"), soft_wrap=True)
    if not whole:
        return signals.exit_code
    return 0 if shop.first_shelf_at is not None and not story.missed else 1


def catalogue(seed: int) -> list[Item]:
    """Real items where ``LIVESHELF_DATA`` names a folder that has them, else made-up ones."""
    folder = os.environ.get("LIVESHELF_DATA")
    if folder and (Path(folder) / catalogs.ICECAT).is_file():
        return catalogs.icecat(Path(folder))
    return catalogs.made_up(seed)
