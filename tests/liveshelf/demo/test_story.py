"""The story's lines and numbers, of nothing too, and what it says when it is broken off."""

import logging
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType
from rich.rule import Rule

from liveshelf.demo.catalogs import made_up
from liveshelf.demo.log import StoryLog
from liveshelf.demo.recorder import Kind, Recorder
from liveshelf.demo.results import ALARM, ROLLBACK, figures, latency, picture, summary
from liveshelf.demo.shop import Shop
from liveshelf.demo.story import HEADINGS, Story, quiet_closing
from liveshelf.settings import Settings
from liveshelf.simulation.truth import Rates
from models.store import ModelStore
from streams.telemetry.meter import Meter, Snapshot

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def shop() -> Shop:
    """One that has not opened."""
    return Shop(Settings(), made_up(1, 60), 1, shoppers=5)


def printed(what: RenderableType, width: int = 200) -> str:
    console = Console(file=StringIO(), width=width)
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


def test_a_line_without_impressions_says_so_and_one_without_a_sample_has_no_share(shop: Shop) -> None:
    story = Story(cast(Any, None), shop, lambda *_: None, lambda _: False)
    assert story._line() == "no impressions in these 5 s; no trainer yet"
    shop.open()
    shop.world.start_ms -= 2_000
    shop.recorder.visit(0.5, "feed", impressions=100, clicks=5)
    assert story.clicks(5).startswith("click rate 5.00% (") and story.clicks(5).endswith("%)")
    shop.recorder.expect(0.5, Rates(shown=0.06, oracle=0.10, random=0.02))
    assert story.clicks(5).endswith("%), 60% of the possible")


def test_headings_fit_into_80_columns() -> None:
    for name, about in HEADINGS.items():
        assert f"{name}: {about}" in printed(Rule(f"{name}: {about}", align="left"), width=80)


def test_a_summary_of_nothing_has_dashes(shop: Shop) -> None:
    told = printed(summary(shop, 0.0, {"a shelf after a click": 120.0}, "Cold start", "The machine is overloaded."))
    assert "nan" not in told
    assert "in the chapter 'Cold start'" in told and "a shelf after a click, within 120 s" in told
    assert "The machine is overloaded." in told
    recorder = Recorder()
    recorder.mark(20.0, "drift", "")
    recorder.mark(40.0, "chapter", "Sabotage")
    assert {value for name, value in figures(recorder, 60.0, {}) if name != "drift to alarm"} == {"-"}


def test_figures_of_a_run_that_missed_something_do_not_contradict_that() -> None:
    recorder = Recorder()
    for at in range(400):
        recorder.expect(at + 0.5, Rates(shown=0.06 if at < 100 else 0.02, oracle=0.10, random=0.01))
    marks: list[tuple[float, Kind]] = [(100, "drift"), (274, "promoted"), (309, "alarm"), (380, "rolled back")]
    for at_s, kind in marks:
        recorder.mark(at_s, kind, "")
    recorder.mark(350, "chapter", "Sabotage")
    told = dict(figures(recorder, 400.0, {ALARM: 120.0}))
    assert told["drift to alarm"] == "too late: 209 s, within 120 s was expected"
    assert told["of the possible, untrained"] == "60%", "before the drift, where nothing was promoted before it"
    assert "alarm to a new champion" not in told, "it was promoted before the alarm"
    assert "after recovery" not in told and told["before the bad model"] == "20%"
    recorder.mark(330, "promoted", "")
    recorder.mark(340, "recovered", "")
    told = dict(figures(recorder, 400.0, {}))
    assert (told["drift to alarm"], told["alarm to a new champion"]) == ("209 s", "21 s")
    assert told["after recovery"] == "20%" and told["bad model rolled back"] == "after 30 s"


def test_a_picture_shows_what_is_known_and_is_called_by_what_happened() -> None:
    recorder = Recorder()
    for at in range(60):
        if not 20 <= at < 40:
            recorder.visit(at + 0.5, "feed", impressions=2_000, clicks=100)
            recorder.expect(at + 0.5, Rates(shown=0.03, oracle=0.10, random=0.01))
    recorder.mark(5.0, "promoted", "")
    recorder.mark(30.0, "drift", "")
    shown = picture(recorder)
    above, below = shown.axes
    [band] = above.collections
    assert max(path.vertices[:, 1].max() for path in band.get_paths()) < 10
    assert above.get_ylim()[1] < 10 and below.get_ylim()[1] < 50
    assert shown.get_suptitle() == "A shop that learns and drifts"
    assert not above.get_legend() and not below.get_legend() and len(shown.legends) == 1
    assert picture(Recorder()).get_suptitle() == "A shop that has not learnt yet"


def trainer(challenger: str, verdict: str = "", **counts: int) -> Snapshot:
    """A trainer's snapshot."""
    meter = Meter("trainer", "t", 0)
    meter.labels = {"challenger": challenger, "verdict": verdict, "verdict_sentence": verdict}
    for name, count in counts.items():
        meter.count(name, count)
    return meter.snapshot(1_000)


def test_the_end_of_each_challenger_is_told_apart_from_that_of_the_one_before() -> None:
    log = StoryLog()
    for said in (trainer("old"), trainer("bad", gave_up=1), trainer("bad"), trainer("", rolled_back=1)):
        list(log.update(said))
    assert log.ends == {"old": "gave up", "bad": "rolled back"}


def test_too_few_examples_are_no_refusal() -> None:
    log = StoryLog()
    said = [entry.kind for verdict in ("too_few", "refused", "passed") for entry in log.update(trainer("", verdict))]
    assert said == ["too few examples", "refused", "gate"]


@pytest.mark.parametrize("how", ["rolled back", "gave up"])
def test_only_a_rollback_of_the_bad_model_passes_as_one(shop: Shop, tmp_path: Path, how: Kind) -> None:
    said: list[str] = []
    there = SimpleNamespace(store=ModelStore(str(tmp_path)))
    story = Story(cast(Any, there), shop, lambda kind, text: said.append(f"{kind}: {text}"), lambda _: False)
    story.ended(how, None, 0.0)
    if how == "rolled back":
        assert said == ["note: rolled back after 0 s, 0 impressions: the untrained weights stay"]
        assert not story.missed
    else:
        assert said == ["missed: not rolled back: gave up after 0 s, 0 impressions: the untrained weights stay"]
        assert list(story.missed) == [ROLLBACK]


def test_errors_of_connections_are_shown_until_the_closing() -> None:
    logger = logging.getLogger("kafka.net.transport")
    before = logger.level
    try:
        with quiet_closing():
            assert logger.isEnabledFor(logging.ERROR)
        assert not logger.isEnabledFor(logging.ERROR) and logger.isEnabledFor(logging.CRITICAL)
    finally:
        logger.setLevel(before)


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
    assert story.title == "Cold start" and story.missed == {}
    assert [line.partition(":")[0] for line in said] == ["chapter"]


def test_shares_of_the_possible_are_known_by_page() -> None:
    recorder = Recorder()
    for at in range(20):
        for page, shown in (("search", 0.08), ("feed", 0.02 + 0.0004 * at)):
            recorder.expect(at + 0.5, Rates(shown=shown, oracle=0.10, random=0.01), page)
    assert recorder.of_oracle(0, 20) == pytest.approx((0.8 + 0.238) / 2)
    assert recorder.share(0, 20, "search") == pytest.approx((0.8, 0.8, 0.8))
    share, low, high = recorder.share(0, 20, "feed")
    assert share == pytest.approx(0.238) and 0.22 < low < share < high < 0.255
    assert recorder.sampled(0, 20) == 40 and recorder.sampled(0, 10, "feed") == 10
