"""A writer that dies at any moment leaves whole versions only, no lock, and nothing that clearing up cannot remove."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models.store import ModelStore
from models.store.clearing import clear
from tests.forked import CONTEXT
from tests.models.store.conftest import description, filled


def dies(root: str, folder: Path, after: int) -> None:
    """Put a version; die, as by kill -9, at the step after so many that it makes on the file system."""
    left = after

    def step(real: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return stepped

    steps = ((os, "fsync"), (os, "open"), (Path, "replace"), (Path, "mkdir"), (shutil, "copyfileobj"))
    for module, name in steps:
        setattr(module, name, step(getattr(module, name)))
    store = ModelStore(root)
    store.slots.promote(store.put(folder, description()).id, "a test")


ENV = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}


def test_dying_at_every_step_of_a_put(tmp_path: Path) -> None:
    folder, root = filled(tmp_path / "made"), tmp_path / "store"
    store = ModelStore(str(root))
    first = store.put(folder, description(notes="first"))
    store.slots.promote(first.id, "first")
    died, whole = 0, 0
    for number in range(0, 200, 3):
        writer = CONTEXT.Process(target=dies, args=(str(root), folder, number))
        writer.start()
        writer.join()
        for version in store.ids():  # whatever is listed is whole
            store.fetch(version)
        current = store.slots.read().current
        assert current is not None and current.version in store.ids()
        whole = len(store.ids())
        if writer.exitcode == 0:
            break
        assert writer.exitcode == -signal.SIGKILL
        died += 1
    else:
        raise AssertionError("it never got through")
    assert died > 3 and whole >= 2
    cleared = clear(store, keep=50, grace_s=-1)
    assert cleared.versions == () and cleared.leftovers
    assert clear(store, keep=50, grace_s=-1).leftovers == ()
    assert store.put(folder, description(notes="last")).id in store.ids()


@pytest.mark.parametrize("after_s", [0.05, 0.2])
def test_the_lock_of_a_process_that_died_holds_nobody_up(tmp_path: Path, after_s: float) -> None:
    store = ModelStore(str(tmp_path / "store"))
    made = store.put(filled(tmp_path / "made"), description())
    holder = (
        f"from models.store import ModelStore; s = ModelStore({str(tmp_path / 'store')!r}); c = s.storage.locked(); "
        "c.__enter__(); print('held', flush=True); import time; time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], env=ENV, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store.slots.promote(made.id, "a test")


def test_what_was_cut_off_lately_stays_for_its_writer(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path / "store"), clock=lambda: datetime.now(UTC))
    store.put(filled(tmp_path / "made"), description())
    store.storage.write("versions/20261124-153000-head-00000000/head/model.safetensors", b"half")
    assert clear(store).leftovers == ()
    assert clear(store, grace_s=-1, dry_run=True).leftovers == clear(store, grace_s=-1).leftovers != ()
