"""The book of runs: whatever is claimed, ended, left or forgotten, in whatever order, its limits hold."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run_history import DAY_MS, RunHistory
from evaluator.retraining.training_run import RunRecord, Trigger

MINUTE_MS = 60_000
CONFIG = TriggerConfig(cooldown_s=600, lease_s=300, runs_a_day=3, least_examples=10, enough_examples=100)
HOLDER = "p1"
GO = Trigger(reason="schedule", summary="", evidence={}, at=0, examples=50)

Step = tuple[str, str, int]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "beat", "trained", "failed", "restart"]),
        st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]),
        st.one_of(st.integers(-20, 30), st.integers(200, 500), st.integers(0, 2_000)),
    ),
    max_size=60,
)


def history(taken: list[Step]) -> list[RunRecord]:
    """All runs that had begun, as they stood when they were last seen, whatever was asked of the book."""
    runs, now, seen = RunHistory(CONFIG), DAY_MS, dict[tuple[str, int], RunRecord]()
    for what, id, minutes in taken:
        now += minutes * MINUTE_MS  # clocks differ: it may go back
        if what == "restart":
            runs = RunHistory.load(CONFIG, msgspec.json.decode(msgspec.json.encode(runs.save())))
        elif what == "begin":
            runs.begin(GO, id, id, HOLDER, now)
        elif what == "beat":
            runs.beat(id, HOLDER, now)
        else:
            runs.end(id, HOLDER, now, "trained" if what == "trained" else "failed")
        seen |= {(run.id, run.began): run for run in runs.get()}
    return sorted(seen.values(), key=lambda run: run.began)


@given(steps)
def test_no_limit_is_ever_broken(taken: list[Step]) -> None:
    found = history(taken)
    for one, other in pairwise(found):
        end = one.ended if one.ended is not None else one.until
        assert end <= other.began, "two at once"
        assert other.began - end >= CONFIG.cooldown_s * 1000, "inside the cooldown"
    for first, beyond in zip(found, found[CONFIG.runs_a_day :], strict=False):
        assert beyond.began - first.began > DAY_MS, "more than the budget in 24 h"


@given(steps, steps)
def test_the_book_goes_on_where_it_was_saved(before: list[Step], after: list[Step]) -> None:
    assert history([*before, *after]) == history([*before, ("restart", "", 0), *after])


@given(steps)
def test_the_book_stays_small(taken: list[Step]) -> None:
    runs, now = RunHistory(CONFIG), 0
    for number, (_, _, minutes) in enumerate(taken * 3):
        now += abs(minutes) * MINUTE_MS
        if not runs.begin(GO, str(number), "t", HOLDER, now):
            runs.end(str(number), HOLDER, now, "trained")
        assert len(runs.get()) <= 2 * (CONFIG.runs_a_day + 1) + 2


def test_of_two_claims_one_is_granted_and_a_repeated_one_too() -> None:
    runs = RunHistory(CONFIG)
    assert runs.begin(GO, "1", "trainer-1", HOLDER, 0) == []
    assert [held.limit for held in runs.begin(GO, "2", "trainer-2", HOLDER, 0)] == ["running"]
    assert runs.begin(GO, "1", "trainer-1", HOLDER, 1) == [], "the answer was lost, so it is asked again"
    assert len(runs.get()) == 1


def test_a_run_that_died_gives_its_place_back_and_cannot_come_alive_again() -> None:
    runs = RunHistory(CONFIG)
    runs.begin(GO, "1", "trainer-1", HOLDER, 0)
    assert runs.beat("1", HOLDER, 4 * MINUTE_MS)
    assert [held.limit for held in runs.begin(GO, "2", "trainer-2", HOLDER, 8 * MINUTE_MS)] == ["running"]
    assert [held.words for held in runs.held_back(50, 10 * MINUTE_MS)] == ["cooldown: 9 min left"]
    assert runs.begin(GO, "2", "trainer-2", HOLDER, 19 * MINUTE_MS) == []
    assert not runs.beat("1", HOLDER, 19 * MINUTE_MS) and not runs.end("1", HOLDER, 19 * MINUTE_MS, "trained")
    assert [held.words for held in runs.begin(GO, "1", "t", HOLDER, 20 * MINUTE_MS)] == [
        "over: run 1 has begun before and is over"
    ]
    assert runs.trained is None


def test_a_run_is_its_holders_until_that_has_ended() -> None:
    """Two processes of one name: the second goes on with the first one's run when that is silent, and no sooner."""
    runs = RunHistory(CONFIG)
    assert runs.begin(GO, "1", "trainer-1", "p1", 0) == []
    assert runs.beat("1", "p1", MINUTE_MS)
    silent = MINUTE_MS + 75_000
    assert not runs.beat("1", "p2", silent - 1) and not runs.end("1", "p2", silent - 1, "failed")
    assert not runs.release("1", "p2", silent - 1) and not runs.take("1", "trainer-1", "p2", silent - 1)
    assert not runs.take("1", "trainer-2", "p2", silent), "nor one of another name"
    assert runs.take("1", "trainer-1", "p2", silent)
    assert not runs.beat("1", "p1", silent) and not runs.end("1", "p1", silent, "trained"), "which is alive after all"
    assert runs.beat("1", "p2", silent) and runs.end("1", "p2", silent, "trained", through=7)
    assert not runs.take("1", "trainer-1", "p1", 2 * silent), "it is over"
    assert runs.trained is not None and runs.trained.through == 7


def test_a_run_that_was_given_up_goes_on_at_once_and_ends_with_its_lease() -> None:
    runs = RunHistory(CONFIG)
    runs.begin(GO, "1", "trainer-1", "p1", 0)
    assert runs.release("1", "p1", 1) and not runs.beat("1", "p1", 1)
    assert [held.limit for held in runs.held_back(50, 2)] == ["running"]
    again = RunHistory.load(CONFIG, runs.save())
    assert again.take("1", "trainer-1", "p2", 2) and again.beat("1", "p2", 4 * MINUTE_MS)
    assert not runs.take("1", "trainer-1", "p2", 5 * MINUTE_MS)
    assert [held.limit for held in runs.held_back(50, 5 * MINUTE_MS)] == ["cooldown"]


def test_a_run_of_a_book_from_before_runs_had_holders_is_taken_up() -> None:
    runs = RunHistory(CONFIG)
    runs.begin(GO, "1", "trainer-1", "p1", 1)
    saved = runs.save()
    del saved["runs"][0]["holder"], saved["runs"][0]["heard"]
    assert RunHistory.load(CONFIG, saved).take("1", "trainer-1", "p2", 2)


def test_a_clock_that_is_behind_brings_no_run_back_to_life() -> None:
    runs = RunHistory(CONFIG)
    assert runs.begin(GO, "1", "trainer-1", HOLDER, 0) == []
    assert runs.begin(GO, "2", "trainer-2", HOLDER, 16 * MINUTE_MS) == []
    assert not runs.beat("1", HOLDER, 4 * MINUTE_MS) and not runs.end("1", HOLDER, 4 * MINUTE_MS, "trained")
    assert runs.beat("2", HOLDER, 4 * MINUTE_MS) and runs.get()[1].until == 21 * MINUTE_MS, "its time does not go back"


def test_the_budget_counts_all_of_24_hours() -> None:
    runs = RunHistory(CONFIG)
    for hours in (0, 8, 16):
        assert runs.begin(GO, str(hours), "t", HOLDER, hours * 60 * MINUTE_MS) == []
    assert [held.limit for held in runs.begin(GO, "4", "t", HOLDER, DAY_MS)] == ["budget"]
    assert runs.begin(GO, "4", "t", HOLDER, DAY_MS + 1) == []
    assert [held.limit for held in runs.begin(GO, "5", "t", HOLDER, DAY_MS + 60 * MINUTE_MS)] == ["budget"]


def test_refusals_say_why_and_until_when() -> None:
    runs = RunHistory(CONFIG)
    for number in range(3):
        at = number * 60 * MINUTE_MS
        assert runs.begin(GO, str(number), "t", HOLDER, at) == []
        runs.end(str(number), HOLDER, at + MINUTE_MS, "trained")
    cooldown, budget, few = runs.held_back(7, 122 * MINUTE_MS)
    assert (cooldown.words, cooldown.until) == ("cooldown: 9 min left", 131 * MINUTE_MS)
    assert budget.words == "budget: 3 of 3 runs in 24 h, the next may begin in 21 h 59 min"
    assert few.words == "examples: 7 new ones, a run needs 10"
    assert cooldown.until is not None and budget.until is not None
    assert [held.limit for held in runs.held_back(50, cooldown.until)] == ["budget"]
    assert [held.limit for held in runs.held_back(50, budget.until - 1)] == ["budget"]
    assert runs.begin(GO, "next", "t", HOLDER, budget.until) == []


def test_the_last_that_was_trained_is_remembered_however_long_ago() -> None:
    runs = RunHistory(CONFIG)
    runs.begin(GO, "good", "t", HOLDER, 0)
    runs.end("good", HOLDER, 1, "trained", through=77)
    for day in range(1, 30):
        runs.begin(GO, str(day), "t", HOLDER, day * DAY_MS)
        runs.end(str(day), HOLDER, day * DAY_MS + 1, "failed")
    assert runs.trained is not None and runs.trained.through == 77


def test_a_gate_that_cannot_decide_is_asked_again_with_twice_as_many_each_time() -> None:
    runs, wanted = RunHistory(CONFIG), list[int]()
    for day, undecided in enumerate((100, 100, 200, 400, 0, 50)):
        assert runs.begin(GO, str(day), "t", HOLDER, day * DAY_MS) == []
        assert runs.end(str(day), HOLDER, day * DAY_MS + 1, "trained", undecided=undecided)
        assert runs.trained is not None
        wanted.append(runs.trained.again)
    assert wanted == [100, 200, 400, 800, 0, 50]
    assert RunHistory.load(CONFIG, runs.save()).trained == runs.trained


@pytest.mark.parametrize("saved", [{"runs": [{"id": 1}]}, {"clock": "soon"}])
def test_a_book_that_cannot_be_read_is_an_error(saved: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        RunHistory.load(CONFIG, saved)
