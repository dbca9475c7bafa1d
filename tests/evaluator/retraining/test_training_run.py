"""A run whose job takes its trainer down with it is not started for ever."""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from evaluator.retraining import run_spec
from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run import STARTS, Child, TrainingRun
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.run_spec import SPEC, STARTED, RunSpec
from evaluator.retraining.training_run import Trigger

TRIGGER = Trigger(reason="schedule", summary="No run for 24 h", evidence={}, at=5, examples=9)


class Alone:
    """A registry in which the run is always this trainer's."""

    config = TriggerConfig()

    async def beat(self, _: str) -> bool:
        return True

    async def release(self, _: str) -> None:
        return


@pytest.mark.parametrize("clean", [False, True])
def test_starts_by_all_trainers_together_are_bounded(tmp_path: Path, clean: bool) -> None:
    spec = RunSpec(id="r1", by="t", trigger=TRIGGER, champion=None)
    run_spec.write(tmp_path / SPEC, spec)

    async def job() -> Child:
        return await Child.start([sys.executable, "-c", "import time; time.sleep(600)"], 1)

    async def one_trainer() -> str:
        run = TrainingRun(tmp_path, spec, cast(RunRegistry, cast(Any, Alone())), job)
        state = await run.step()
        await (run.leave() if clean else run.stop())  # killed, or ended by somebody
        return state

    async def trainers() -> list[str]:
        return [await one_trainer() for _ in range(STARTS + 2)]

    states = asyncio.run(trainers())
    assert states == (["running"] * (STARTS + 2) if clean else ["running"] * STARTS + ["failed"] * 2)
    assert run_spec.read(tmp_path / STARTED, int) == (0 if clean else STARTS)
