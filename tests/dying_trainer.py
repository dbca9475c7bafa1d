"""A trainer that is killed at a step of its rollout, by SIGKILL; for ``tests.forked``.

``DIES_AT`` names the step: ``record``, when it has decided and is about to record the decision; ``slots``, when that is
recorded and no slot has changed yet.
"""

import os
import signal
from typing import Any, NoReturn

from liveshelf.cli import app
from models.store.experiments import Experiments
from models.store.slots import Slots


def main() -> None:
    """Run the role that the arguments name."""
    if os.environ["DIES_AT"] == "record":
        Experiments.record = _die  # type: ignore[method-assign]
    else:
        Slots.promote = _die  # type: ignore[method-assign]
    app.main()


def _die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
