"""What fires, however often and in whatever repetition the topic tells it."""

from typing import Literal

import msgspec

from evaluator.monitoring.alerts.alert import FORGET_MS, REPEAT_MS, Alert, AlertsView
from evaluator.monitoring.alerts.alertmanager import HOLD, AlertmanagerState

RESEND_MS = 60_000


def alert(name: str, since: int, until: int | None = None, **labels: str) -> Alert:
    state: Literal["firing", "resolved"] = "firing" if until is None else "resolved"
    return Alert(name=name, labels=labels, state=state, summary=name, evidence={"n": 1}, since=since, until=until)


def test_reading_the_topic_twice_leaves_the_same() -> None:
    told = [
        (alert("a", 1), 1),
        (alert("b", 2, arm="x"), 2),
        (alert("b", 2, 5, arm="x"), 5),
        (alert("b", 7, arm="y"), 7),
    ]
    once, twice = AlertsView(), AlertsView()
    for one, at in told:
        once.update(one, at)
    for one, at in [*told, *told]:
        twice.update(one, at)
    assert once.get(10) == twice.get(10) == [alert("a", 1), alert("b", 7, arm="y")]
    assert once.ended() == twice.ended() == [alert("b", 2, 5, arm="x")]


def test_what_nobody_tells_any_more_is_forgotten_and_what_is_told_again_is_not() -> None:
    standing = AlertsView()
    standing.update(alert("gone", 0), 0)
    for hours in range(5):
        standing.update(alert("lasting", 0), hours * REPEAT_MS)
    assert FORGET_MS > 2 * REPEAT_MS
    assert [one.name for one in standing.get(4 * REPEAT_MS)] == ["lasting"]


def test_only_beginnings_ends_and_reminders_are_news() -> None:
    standing, news = AlertsView(), list[tuple[str, int, int | None]]()
    for told, one, source in [
        (0, alert("a", 0), "e1"),
        (1, alert("a", 1), "e2"),  # the other evaluator sees it too
        (2, alert("a", 2), "e1"),  # told again after a restart
        (REPEAT_MS, alert("a", 2), "e1"),  # a reminder
        (REPEAT_MS + 1, alert("a", 1), "e2"),  # the other's
        (REPEAT_MS + 2, alert("a", 2, REPEAT_MS + 2), "e1"),
        (REPEAT_MS + 3, alert("a", 1, REPEAT_MS + 3), "e2"),
        (REPEAT_MS + 4, alert("a", 1, REPEAT_MS + 4), "e2"),  # an end that comes twice
        (REPEAT_MS + 5, alert("a", REPEAT_MS + 5), "e2"),  # it begins anew
    ]:
        if (found := standing.update(one, told, source)) is not None:
            news.append((found.state, found.since, found.until))
    assert news == [
        ("firing", 0, None),
        ("firing", 0, None),
        ("resolved", 0, REPEAT_MS + 3),
        ("firing", REPEAT_MS + 5, None),
    ]


def test_an_evaluator_that_is_gone_does_not_keep_an_alert_alive() -> None:
    standing = AlertsView()
    standing.update(alert("a", 0), 0, "gone")
    standing.update(alert("a", 0), FORGET_MS, "here")
    assert [one.name for one in standing.get(FORGET_MS + 1)] == ["a"]
    ended = standing.update(alert("a", 0, FORGET_MS + 2), FORGET_MS + 2, "here")
    assert ended is not None and standing.get(FORGET_MS + 2) == []


def test_only_the_last_that_ended_are_kept() -> None:
    standing = AlertsView(ended=3)
    for number in range(1_000):
        standing.update(alert(str(number), number), number)
        standing.update(alert(str(number), number, number + 1), number + 1)
    assert [one.name for one in standing.ended()] == ["997", "998", "999"]


def test_alertmanager_hears_of_an_end_until_it_has_taken_it() -> None:
    state = AlertmanagerState(RESEND_MS)
    state.update(alert("a", 1_000), 1_000)
    state.sent()
    assert len(state.get(2_000)) == 1, "what fires is told again"
    state.update(alert("a", 1_000, 3_000), 3_000)
    assert [state.get(now)[0]["endsAt"] for now in (4_000, 5_000)] == ["1970-01-01T00:00:03.000Z"] * 2
    state.sent()
    assert state.get(6_000) == []
    state.update(alert("a", 9_000), 9_000)
    assert [one["startsAt"] for one in state.get(9_000)] == ["1970-01-01T00:00:09.000Z"], "it may fire anew"


def test_an_end_that_alertmanager_has_seen_by_itself_is_not_told() -> None:
    state = AlertmanagerState(RESEND_MS)
    state.update(alert("a", 0, 1_000), 1_000)
    assert state.get(1_000 + HOLD * RESEND_MS) == []


def test_alertmanager_gets_names_that_it_takes() -> None:
    state = AlertmanagerState(RESEND_MS, "https://shop.example/live")
    odd = {"a-b": "1", "2nd": "2", "alertname": "mine", "": "3"}
    state.update(msgspec.structs.replace(alert("a", 0), labels=odd), 0)
    [told] = state.get(0)
    assert told["labels"] == {"a_b": "1", "_2nd": "2", "alertname": "a", "_": "3"}
    assert told["generatorURL"] == "https://shop.example/live"
