"""A program that runs a role in which one task breaks: what the tests of background tasks share.

Started with a role, a folder and what is to break, each as ``module:Class.method=how`` or ``module:function=how``. For
each it makes a process of its own, forked from one that has imported everything; all run at once. Their exit codes,
None where one still ran after `HANG_S`, are its output, as JSON; logs and last words are in the folder.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

HANG_S = 240.0
GROUPS = {"worker": "WORKER", "evaluator": "EVALUATOR", "trainer": "LEARNING"}
MODULES = {
    "worker": "streams.worker",
    "evaluator": "evaluator.process",
    "trainer": "evaluator.retraining.trainer",
    "dashboard": "evaluator.dashboard.server",
    "collect": "liveshelf.collect.server",
}


def break_off(target: str, how: str) -> None:
    """Let a coroutine function, as it runs a second time around the loop, raise, return or be cancelled from within."""
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)

    async def broken(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0)
        if how == "raises":
            raise RuntimeError(f"{name} is broken")
        if how == "is cancelled":
            raise asyncio.CancelledError

    assert hasattr(owner, name), f"{owner.__name__} has no {name} any more"
    setattr(owner, name, broken)


def prepare(role: str, target: str, how: str, folder: Path) -> None:
    """In a process of its own: its output, its group, where its last words go, and what breaks."""
    log = os.open(folder / f"{target}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["LIVESHELF_LAST_WORDS"] = str(folder / f"{target}.words")
    os.environ["LIVESHELF_EXAMPLES__FOLDER"] = str(folder / f"{target}-examples")
    if role in GROUPS:
        os.environ[f"LIVESHELF_{GROUPS[role]}__GROUP"] = f"{os.environ['LIVESHELF_TOPICS__PREFIX']}{os.getpid()}"
    break_off(target, how)
    sys.argv = ["liveshelf", role, *(["--port", "0"] if role in ("dashboard", "collect") else [])]


def ended(pid: int, deadline: float) -> int | None:
    """Wait for a process; its exit code."""
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main() -> None:
    """See the module."""
    role, folder, *targets = sys.argv[1:]
    importlib.import_module(MODULES[role])
    from liveshelf.cli.app import main as command

    started = dict[str, int]()
    for one in targets:
        target, _, how = one.partition("=")
        started[target] = os.fork()
        if not started[target]:
            prepare(role, target, how, Path(folder))
            command()
            return
    deadline = time.monotonic() + HANG_S
    codes = {target: ended(pid, deadline) for target, pid in started.items()}
    sys.stdout.write(json.dumps(codes))


if __name__ == "__main__":
    main()
