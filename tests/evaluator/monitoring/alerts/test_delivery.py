"""Delivery: what an answer means, and waits that obey."""

import pytest

from evaluator.monitoring.alerts.delivery import LONGEST_ASKED_S, Answer
from streams.runtime.tasks import Backoff


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 202, 204), "delivered"),
        ((None, 408, 429, 500, 502, 503, 504), "again"),
        ((301, 308, 400, 401, 403, 404, 410, 413, 422), "refused"),
    ],
)
def test_only_what_may_pass_is_tried_again(statuses: tuple[int | None, ...], verdict: str) -> None:
    assert {Answer(status).verdict for status in statuses} == {verdict}


def test_a_receiver_that_asks_for_time_gets_it_but_not_for_ever() -> None:
    backoff = Backoff(10.0, lambda: 0.5)
    assert backoff.next(Answer(429, "30").asked_s(0)) == 30.0
    assert backoff.next(Answer(503, "Thu, 01 Jan 1970 00:02:00 GMT").asked_s(100)) == 20.0
    assert backoff.next(Answer(503, str(10**9)).asked_s(0)) == LONGEST_ASKED_S
    assert backoff.next(Answer(503, "Fri, 99 Foo").asked_s(0)) == 4.0, "nonsense is not obeyed"
