"""The compute thread: order, errors, and an end that finishes what was begun."""

import asyncio
import threading

import pytest

from streams.compute import Compute


def test_shoppers_go_before_the_catalogue_each_lane_in_order() -> None:
    done: list[str] = []

    async def main() -> None:
        compute = Compute()
        gate = threading.Event()
        waiting = [compute.run(gate.wait)]
        waiting += [compute.later(done.append, name) for name in ("c1", "c2")]
        waiting += [compute.run(done.append, name) for name in ("s1", "s2")]
        gate.set()
        await asyncio.gather(*waiting)
        compute.close()

    asyncio.run(main())
    assert done == ["s1", "s2", "c1", "c2"]


def test_an_error_reaches_whoever_waits_and_the_thread_lives_on() -> None:
    async def main() -> int:
        compute = Compute()
        try:
            with pytest.raises(ZeroDivisionError):
                await compute.run(lambda: 1 // 0)
            with pytest.raises(SystemExit):
                await compute.run(exit)
            return await compute.run(max, 1, 2)
        finally:
            compute.close()

    assert asyncio.run(main()) == 2


def test_a_cancelled_wait_harms_nothing() -> None:
    async def main() -> str:
        compute = Compute()
        gate = threading.Event()
        waiting = compute.run(gate.wait)
        waiting.cancel()
        gate.set()
        try:
            return await compute.run(str, "on")
        finally:
            compute.close()

    assert asyncio.run(main()) == "on"


def test_all_work_is_done_on_one_thread_and_finished_before_the_end() -> None:
    threads: set[int] = set()

    async def main() -> None:
        compute = Compute()
        jobs = [compute.later(lambda: threads.add(threading.get_ident())) for _ in range(50)]
        compute.close()
        await asyncio.gather(*jobs)

    asyncio.run(main())
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_an_answer_after_the_loop_has_closed_is_dropped() -> None:
    gate = threading.Event()

    async def main() -> Compute:
        compute = Compute()
        compute.run(gate.wait)
        return compute

    compute = asyncio.run(main())
    gate.set()
    compute.close()
