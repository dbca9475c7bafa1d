"""Each beginning and each end of an alert is told once, and a long one again at times."""

from hypothesis import given
from hypothesis import strategies as st

from evaluator.monitoring.alerts.alert import ActiveAlerts, Alert, decoder, encoder


def alert(name: str, now: int) -> Alert:
    return Alert(name=name, labels={"arm": "a"}, state="firing", summary="s", evidence={"rate": 0.1}, since=now)


@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), st.booleans(), st.integers(0, 30)), max_size=40))
def test_what_is_told_alternates_and_ends_as_it_is(steps: list[tuple[str, bool, int]]) -> None:
    book, now, open_ = ActiveAlerts(repeat_ms=100), 0, dict[str, int]()
    for name, drifted, passed in steps:
        now += passed
        for told in book.fire(alert(name, now), now) if drifted else book.resolve(alert(name, now).key, now):
            assert decoder.decode(encoder.encode(told)) == told
            if told.state == "firing":
                assert told.since == open_.setdefault(name, now), "a repetition has the beginning's time"
            else:
                assert told.until == now and told.since == open_.pop(name)
    assert {one.name for one in book.get()} == set(open_)


def test_a_long_one_is_told_again() -> None:
    book = ActiveAlerts(repeat_ms=100)
    told = [now for now in range(0, 350, 10) if book.fire(alert("x", now), now)]
    assert told == [0, 100, 200, 300]
