"""Which items a file deletes, and where their tombstones go."""

import random

import pytest

from liveshelf.ingest.removals import ALLOWED, ItemState, Removal, Verdict, item_state, missing
from liveshelf.ingest.summary import ImportSummary
from streams.catalog.embedding import Origin


def live(count: int) -> dict[str, ItemState]:
    return {f"i{n:03}": ItemState(Origin(0, n, 1_000), True, (0,)) for n in range(count)}


@pytest.mark.parametrize("gone", [0, 1, 19, 20, 21, 99, 100])
def test_a_fifth_of_the_live_items_may_go_and_no_more(gone: int) -> None:
    known = live(100)
    verdict = missing(known, [*sorted(known)[gone:], "new"])
    assert verdict.gone == tuple(sorted(known)[:gone])
    assert verdict.live == 100
    assert bool(verdict.why_not) == (gone / 100 > ALLOWED)
    if verdict.why_not:
        assert f"{gone} of 100 live items ({gone} %)" in verdict.why_not


def test_the_share_that_a_refusal_names_is_enough() -> None:
    known = live(100)
    for gone in range(1, 101):
        kept = {*sorted(known)[gone:], "new"}
        enough = float(missing(known, kept, 0.0).why_not.split("--allow-deletes ")[1].split()[0])
        assert not missing(known, kept, enough).why_not


def test_deleted_items_neither_go_again_nor_count() -> None:
    known = live(10) | {f"old{n}": ItemState(Origin(0, n, 1_000), False, ()) for n in range(90)}
    assert missing(known, set(live(10)) - {"i003"}) == Verdict(("i003",), 10)
    assert "3 of 10" in missing(known, set(sorted(live(10))[3:])).why_not


def test_an_empty_file_deletes_nothing_whatever_is_allowed() -> None:
    assert missing(live(3), set(), 1.0).why_not == "the file has no items"
    assert missing(live(3), {"new"}, 1.0) == Verdict(("i000", "i001", "i002"), 3)
    assert missing({}, {"new"}) == Verdict((), 0)


def test_tombstones_end_every_record_whatever_was_read_first() -> None:
    rng = random.Random(5)
    for _ in range(300):
        records = [
            (Origin(partition, offset, rng.randrange(50)), rng.random() < 0.7)
            for partition in range(3)
            for offset in range(rng.randrange(4))
        ]
        found = set[tuple[int, bool, tuple[int, ...]]]()
        for _ in range(4):
            turns = [origin.partition for origin, _ in records]
            rng.shuffle(turns)
            waiting = {number: [one for one in records if one[0].partition == number] for number in range(3)}
            known: ItemState | None = None
            for number in turns:
                known = item_state(known, *waiting[number].pop(0))
            if known is None:
                continue
            found.add((known.last.partition, known.live, known.holding))
            assert not known.live or known.last.partition in known.holding
            tombstones = dict(known.tombstones(25))
            for partition in range(3):
                mine = [one for one in records if one[0].partition == partition]
                assert (partition in tombstones) == bool(mine and mine[-1][1])
            assert all(stamp > origin.timestamp_ms for stamp in tombstones.values() for origin, _ in records)
        assert len(found) <= 1, "the order between partitions decides nothing"


def test_what_ctrl_c_broke_off_says_so_by_its_exit_code() -> None:
    assert ImportSummary(sent=5, interrupted=True).exit_code == ImportSummary(interrupted=True).exit_code == 130


def test_a_sync_that_did_not_delete_what_it_should_is_no_success() -> None:
    assert ImportSummary(sent=1, verdict=Verdict(("a",), 9), removal=Removal(items=1)).exit_code == 0
    assert ImportSummary(sent=1, verdict=Verdict(("a",), 9), removal=Removal(interrupted=True)).exit_code == 130
    assert ImportSummary(sent=1, verdict=Verdict(("a",), 9, "too many")).exit_code == 1
