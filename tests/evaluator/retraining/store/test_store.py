"""Examples on disk: whatever order they come in, however often, and wherever the writer is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluator.attribution.example import LabelledExample, encoder
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.store.columns import ORDER
from evaluator.retraining.store.reservoir import rank
from evaluator.retraining.store.segment import MOST_FILES
from evaluator.retraining.store.store import END, ExampleStore
from models.training.examples import ExamplesError
from tests.evaluator.examples.made import FIRST, HOUR_MS, NOW, config, example

Record = tuple[int, int, LabelledExample | None]


def in_order(examples: Sequence[LabelledExample]) -> list[LabelledExample]:
    return sorted(examples, key=lambda one: tuple(getattr(one, name) for name in ORDER))


def records(examples: Sequence[LabelledExample], partition: int = 0, first: int = 0) -> list[Record]:
    return [(partition, first + place, one) for place, one in enumerate(examples)]


def read(folder: Path) -> list[LabelledExample]:
    return list(Archive(folder).read(0, END))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


SOME = [example(number, ts=number * 350_000 % (4 * HOUR_MS)) for number in range(60)]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(range(60)), max_size=100), st.integers(5, 40), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, more: list[int], rows: int, chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("examples")
    taken = [*SOME, *(SOME[number] for number in more)]
    chance.shuffle(taken)
    with ExampleStore(config(folder, flush_rows=rows)) as store:
        for place in range(0, len(taken), 7):
            store.update(records(taken[place : place + 7], first=place), NOW)
        assert store.flush(NOW) == {0: len(taken)}
        assert store.counts["written"] == 60
    assert read(folder) == in_order(SOME)
    by_id = {one.id: one for one in Archive(folder).rehearsal(END)}
    with ExampleStore(config(tmp_path_factory.mktemp("once"))) as once:
        once.update(records(SOME), NOW)
        once.flush(NOW)
        assert {one.id: one for one in Archive(Path(once.config.folder)).rehearsal(END)} == by_id
    assert len(by_id) == 20


def test_nothing_is_acknowledged_before_it_is_on_disk(tmp_path: Path) -> None:
    with ExampleStore(config(tmp_path, flush_rows=3, flush_s=60)) as store:
        assert store.update([(0, 7, SOME[0]), (1, 2, SOME[1])], NOW) == {}
        assert read(tmp_path) == []
        assert store.update([(0, 8, SOME[2])], NOW) == {0: 9, 1: 3}
        assert len(read(tmp_path)) == 3
        assert store.update([(0, 9, None)], NOW) == {0: 9, 1: 3}
        assert store.update([], NOW + 60_000) == {0: 10, 1: 3}, "what is no example is passed, too"


class Killed(BaseException):
    """Where the process would have ended."""


def killed_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """End at the n-th thing that is done to the disk, before or after it."""
    left = [step]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def does(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            done = real(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return done

        return does

    for name in ("fsync", "replace", "unlink"):
        patch.setattr(os, name, counted(getattr(os, name)))


def test_a_kill_at_any_step_loses_nothing_and_shows_no_half(tmp_path: Path) -> None:
    taken = [example(number, ts=number * 450_000 + number % 5) for number in range(16)]
    lowest = in_order(sorted(taken, key=lambda one: rank(one.id))[:8])
    steps, ended = 0, False
    while not ended:
        steps += 1
        folder, safe = tmp_path / str(steps), 0
        with pytest.MonkeyPatch.context() as patch:
            killed_at(steps, patch)
            try:
                with ExampleStore(config(folder, flush_rows=4, rehearsal=8)) as store:
                    for place in range(0, 16, 4):
                        safe = store.update(records(taken[place : place + 4], first=place), NOW).get(0, safe)
                ended = True
            except Killed:
                pass
        seen = read(folder)
        assert len({one.id for one in seen}) == len(seen) and seen == in_order(seen)
        assert {one.id for one in taken[:safe]} <= {one.id for one in seen}
        with ExampleStore(config(folder, rehearsal=8)) as store:
            store.update(records(taken[safe:], first=safe), NOW)
            assert store.flush(NOW) == ({0: 16} if safe < 16 else {})
        assert read(folder) == in_order(taken)
        assert Archive(folder).rehearsal(END) == lowest
        assert not list((folder / "partial").iterdir())
    assert steps > 50 and len(files(folder)) < 4, "files were put together on the way"


WRITER = """
import sys
from evaluator.retraining.store.store import ExampleStore
from evaluator.attribution.example import decoder
from tests.evaluator.examples.made import NOW, config
with ExampleStore(config(sys.argv[1], flush_rows=4)) as store:
    for offset, line in enumerate(sys.stdin.buffer):
        print(store.update([(0, offset, decoder.decode(line))], NOW).get(0, 0), flush=True)
"""


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    taken = [example(number, ts=number * 15_000) for number in range(2_000)]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin = process.stdin

        def feed() -> None:
            with suppress(BrokenPipeError):
                for one in taken:
                    stdin.write(encoder.encode(one) + b"\n")
                    stdin.flush()

        feeding = threading.Thread(target=feed)
        feeding.start()
        safe = 0
        while safe < 100:
            safe = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told = process.stdout.read().split(b"\n")
        safe = max([safe, *(int(line) for line in told[:-1])])
        feeding.join()
        with suppress(BrokenPipeError):
            stdin.close()
    assert process.returncode == -signal.SIGKILL
    assert 100 <= safe < 2_000
    seen = {one.id for one in read(tmp_path)}
    assert {one.id for one in taken[:safe]} <= seen
    with ExampleStore(config(tmp_path)) as store:
        store.update(records(taken[safe:], first=safe), NOW)
        assert store.flush(NOW) == {0: 2_000}
        assert store.counts["again"] == len(seen) - safe
    assert read(tmp_path) == taken


def test_one_writer_at_a_time_and_readers_beside_it(tmp_path: Path) -> None:
    with ExampleStore(config(tmp_path)) as store:
        with pytest.raises(ExamplesError, match="another process writes"):
            ExampleStore(config(tmp_path))
        store.update(records(SOME), NOW)
        store.flush(NOW)
        reading = Archive(tmp_path).read(0, END)
        first = next(reading)
        store.flush(NOW + 1_000 * 24 * HOUR_MS)
        assert files(tmp_path) == [], "all of it is too old"
        assert first == in_order(SOME)[0]
    with ExampleStore(config(tmp_path)):
        pass


def test_files_of_an_hour_become_one(tmp_path: Path) -> None:
    taken = [example(number, ts=number) for number in range(MOST_FILES * 2)]
    with ExampleStore(config(tmp_path, flush_rows=1)) as store:
        for record in records(taken):
            store.update([record], FIRST)
            assert len(files(tmp_path)) <= MOST_FILES
        assert len(files(tmp_path)) > 1
        store.flush(NOW)
        assert files(tmp_path) == [f"20251125T180000Z_3600s_000001-{MOST_FILES * 2:06d}.parquet"]
        late = example(9_999, ts=5)
        store.update([(0, 99, late)], FIRST + 2 * HOUR_MS)
        assert len(files(tmp_path)) == 2
    assert read(tmp_path) == in_order([*taken, late])


def test_a_reader_sees_everything_once_while_files_become_one(tmp_path: Path) -> None:
    taken = [example(number, ts=number) for number in range(80)]
    seen, done = list[int](), threading.Event()

    def follow() -> None:
        while not done.is_set():
            some = read(tmp_path)
            seen.append(len(some) if some == taken[: len(some)] else -1)
            time.sleep(0.005)

    with ExampleStore(config(tmp_path, flush_rows=2)) as store:
        reading = threading.Thread(target=follow)
        reading.start()
        for place in range(0, 80, 2):
            store.update(records(taken[place : place + 2], first=place), FIRST)
        done.set()
        reading.join()
    assert seen == sorted(seen) and min(seen) >= 0, "never fewer than before"
    assert len(set(seen)) > 5


def test_nothing_is_removed_while_a_reader_opens_files(tmp_path: Path) -> None:
    with ExampleStore(config(tmp_path)) as store:
        store.update(records(SOME), NOW)
        store.flush(NOW)
        with Archive(tmp_path).folder.removal_lock():
            removing = threading.Thread(target=store.flush, args=[2 * NOW])
            removing.start()
            removing.join(0.1)
            assert removing.is_alive() and len(files(tmp_path)) == 4
        removing.join()
        assert files(tmp_path) == []


def test_examples_of_who_was_forgotten_go_wherever_they_are_and_come_no_more(tmp_path: Path) -> None:
    some = [example(n, ts=n * 350_000 % (4 * HOUR_MS), shopper=f"u{n % 3}") for n in range(60)]
    until = {"u1": some[31].ts, "u2": NOW, "unknown": NOW}
    kept = [one for one in some if one.ts > until.get(one.shopper, 0)]
    with ExampleStore(config(tmp_path, flush_rows=25)) as store:
        store.update(records(some[:50]), NOW)
        store.update(records(some[50:], first=50), NOW)
        before = files(tmp_path)
        assert store.forget(until) == 60 - len(kept)
        assert store.forget(until) == 0
        store.update(records(some, first=60), NOW)
        store.flush(NOW)
        assert files(tmp_path)[0] in before, "rewritten in place"
        assert store.counts["forgotten"] == 2 * (60 - len(kept))
    assert read(tmp_path) == in_order(kept)
    assert {one.id for one in Archive(tmp_path).rehearsal(END)} <= {one.id for one in kept}
    with ExampleStore(config(tmp_path)) as again:  # it starts anew, and is told again
        assert again.forget({"u0": NOW, "u1": NOW}) == len(kept)
    assert read(tmp_path) == [] == Archive(tmp_path).rehearsal(END) and files(tmp_path) == []


def test_what_is_too_old_or_too_much_goes_but_is_rehearsed(tmp_path: Path) -> None:
    by_hour = [[example(10 * hour + number, ts=hour * HOUR_MS) for number in range(3)] for hour in range(10)]
    with ExampleStore(config(tmp_path, keep_s=8.5 * 3_600)) as store:
        store.update(records([one for some in by_hour for one in some]), NOW)
        store.flush(NOW)
        assert store.counts == {"written": 27, "old": 3, "again": 0}
    assert {one.ts for one in read(tmp_path)} == {FIRST + hour * HOUR_MS for hour in range(1, 10)}
    assert min(one.ts for one in Archive(tmp_path).rehearsal(END)) == FIRST
    size = sum(path.stat().st_size for path in (tmp_path / "segments").iterdir())
    with ExampleStore(config(tmp_path, keep_bytes=size // 3)) as store:
        store.flush(NOW)
    assert {one.ts for one in read(tmp_path)} == {FIRST + hour * HOUR_MS for hour in (7, 8, 9)}
    with ExampleStore(config(tmp_path, keep_bytes=1)) as store:
        store.flush(NOW)
    assert len(files(tmp_path)) == 1


def test_examples_that_cannot_be_are_passed_over(tmp_path: Path) -> None:
    with ExampleStore(config(tmp_path)) as store:
        future, before = example(1, ts=NOW), example(2, ts=-FIRST - 1)
        assert store.update(records([future, before, SOME[0]]), NOW) == {}
        assert store.flush(NOW) == {0: 3} and store.counts["refused"] == 2
    assert read(tmp_path) == [SOME[0]] == Archive(tmp_path).rehearsal(END)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExampleStore(config(tmp_path, flush_rows=10)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                store.update(records(SOME), NOW)
        assert store.update([], NOW) == {0: 60}
    assert read(tmp_path) == in_order(SOME) and len(Archive(tmp_path).rehearsal(END)) == 20


def test_the_sample_is_made_anew_where_it_is_gone(tmp_path: Path) -> None:
    with ExampleStore(config(tmp_path)) as store:
        store.update(records(SOME), NOW)
        store.flush(NOW)
    before = Archive(tmp_path).rehearsal(END)
    (tmp_path / "rehearsal.parquet").unlink()
    with ExampleStore(config(tmp_path)) as store:
        store.flush(NOW)
    assert Archive(tmp_path).rehearsal(END) == before


def test_damage_and_other_spans_are_told(tmp_path: Path) -> None:
    with ExampleStore(config(tmp_path)) as store:
        store.update(records(SOME[:1]), NOW)
        store.flush(NOW)
    with pytest.raises(ExamplesError, match="set span_s to that"):
        ExampleStore(config(tmp_path, span_s=60))
    [name] = files(tmp_path)
    path = tmp_path / "segments" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(ExamplesError, match=f"{name} is damaged"):
        read(tmp_path)
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(ExamplesError, match=f"{name} is damaged"):
        read(tmp_path)
