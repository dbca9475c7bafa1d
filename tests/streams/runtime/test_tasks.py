"""What Kafka breaks off is begun again; what else goes wrong is not hidden."""

import asyncio
import logging

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.runtime import tasks
from streams.runtime.tasks import EndedError, restart_on_error, retry, run_forever
from tests.logged import logged


def test_it_begins_again_until_cancelled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.001)
    tries = 0

    async def read() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise KafkaConnectionError("gone")
        await asyncio.sleep(60)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await restart_on_error(read, "shelves")

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert tries == 3
    assert [message.partition(":")[0] for message in logged(caplog, "streams.runtime.tasks")] == [
        "shelves cannot be read"
    ] * 2


def test_other_errors_end_it() -> None:
    async def read() -> None:
        raise ValueError("no slot")

    with pytest.raises(ValueError, match="no slot"):
        asyncio.run(restart_on_error(read, "slots"))


def test_what_has_no_end_and_ends_is_an_error_unless_it_was_cancelled() -> None:
    async def cancelled_from_within() -> None:
        raise asyncio.CancelledError

    async def run() -> None:
        with pytest.raises(ExceptionGroup) as found:
            async with asyncio.TaskGroup() as group:
                group.create_task(run_forever(cancelled_from_within(), "reading"))
                group.create_task(run_forever(asyncio.sleep(60), "sleeping"))
        [error] = found.value.exceptions
        assert isinstance(error, EndedError) and str(error) == "reading was cancelled by nobody"

    asyncio.run(run())


@pytest.mark.parametrize(("passes", "wanted"), [(True, "done"), (False, None)])
def test_what_fails_twice_is_done_unless_another_try_is_not_worth_it(
    passes: bool, wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "FIRST_WAIT_S", 0.001)
    told: list[str] = []

    async def work() -> str:
        if len(told) < 2:
            raise OSError(f"failure {len(told)}")
        return "done"

    def worth(error: Exception) -> bool:
        told.append(str(error))
        return passes

    assert asyncio.run(retry(work, worth)) == wanted
    assert told == ["failure 0", "failure 1"][: 2 if passes else 1]
