"""The story's lines and numbers, of nothing too, and what it says when it is broken off."""

from io import StringIO
from typing import Any, cast

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from liveshelf.demo.catalogs import made_up
from liveshelf.demo.recorder import Recorder
from liveshelf.demo.results import figures, latency, summary
from liveshelf.demo.shop import Shop
from liveshelf.demo.story import Story
from liveshelf.settings import Settings
from streams.telemetry.meter import Meter, Snapshot

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def shop() -> Shop:
    """One that has not opened."""
    return Shop(Settings(), made_up(1, 60), 1, shoppers=5)


def printed(what: RenderableType) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(what)
    return cast(StringIO, console.file).getvalue()


def second(at: int, *times: float, model: str = "a", **gauges: float) -> Snapshot:
    """A worker's snapshot of a second in which events took so long."""
    meter = Meter("worker", "w", at * 1_000)
    for ms in times:
        meter.time("end_to_end", ms)
    meter.count("events", len(times))
    meter.gauges = {"items": 60.0, "lag": 0.0, "challenger_ready": 0.0} | gauges
    meter.labels = {"model": model, "next": "", "challenger": ""}
    return meter.snapshot((at + 1) * 1_000)


def test_before_anything_was_shown_a_line_has_dashes(shop: Shop) -> None:
    story = Story(cast(Any, None), shop, lambda *_: None, lambda _: False)
    assert (story.rate(0), story.share(0)) == ("-", "-")
    assert story._line() == "click rate -, - of the possible; no trainer yet"
    shop.recorder.visit(0.5, "feed", impressions=100, clicks=5)
    shop.open()
    shop.world.start_ms -= 2_000
    assert story.rate(0).startswith("5.00% (")


def test_a_summary_of_nothing_has_dashes(shop: Shop) -> None:
    told = printed(summary(shop, 0.0, ["a shelf after a click"], "Cold start"))
    assert "nan" not in told
    assert "in the chapter 'Cold start'" in told and "a shelf after a click" in told
    recorder = Recorder()
    recorder.mark(20.0, "drift", "")
    recorder.mark(40.0, "chapter", "Sabotage")
    assert {value for name, value in figures(recorder, 60.0) if name != "drift to alarm"} == {"-"}


def test_the_start_and_changes_of_models_are_told_apart_from_the_usual_time_to_a_shelf() -> None:
    start = [second(0, items=20), second(1, 5_000, 6_000, lag=50), second(2, 5_500, lag=0)]
    usual = [second(at, *[20.0] * 10, lag=5) for at in range(3, 9)]
    change = [second(9, 3_000, model="b", lag=40), second(10, 2_000, model="b", lag=30)]
    after = [second(at, *[20.0] * 10, model="b", lag=5) for at in range(11, 20)]
    loading = replace(after[0], labels=after[0].labels | {"next": "c"})
    (name, calm), (with_these, every) = latency([*start, *usual, *change, *after, loading])
    assert (name, with_these) == ("event to shelf", "… with start and model changes")
    assert calm.startswith("median 19.9 ms")
    assert float(calm.split("99 % ")[1].split(" ms")[0]) < 25
    assert float(every.split("99 % ")[1].split(" ms")[0]) > 1_000


def test_a_story_that_is_stopped_says_so_and_where(shop: Shop) -> None:
    said: list[str] = []
    story = Story(cast(Any, None), shop, lambda kind, text: said.append(f"{kind}: {text}"), lambda _: True)
    assert not story.run()
    assert story.title == "Cold start" and story.missed == []
    assert [line.partition(":")[0] for line in said] == ["chapter"]
