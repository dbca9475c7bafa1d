"""A follower skips a change that cannot be applied, but none because a file could not be written."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from streams.catalog.catalog import Catalog, Change
from streams.catalog.replication import Follower
from streams.events.schema import Item
from streams.telemetry.meter import Meter


@pytest.mark.parametrize(("error", "skipped"), [(ArithmeticError, 1), (OSError, 0)])
def test_only_a_change_that_is_at_fault_is_skipped(
    catalogue: Catalog,
    upsert: Callable[..., Change],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    skipped: int,
) -> None:
    def failing(*_: object) -> None:
        raise error

    meter = Meter("worker", "w", 0)
    follower = Follower(cast(Any, None), catalogue, meter)
    monkeypatch.setattr(catalogue.lexical, "put", failing)
    changes = [upsert(Item(item_id="new", title="a lamp"))]
    if skipped:
        follower._apply(changes)
    else:
        with pytest.raises(error):
            follower._apply(changes)
    assert meter.snapshot(0).counts.get("unreadable.embeddings", 0) == skipped
