"""What an installation without extras can do, and what its other commands say."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from liveshelf.terminal import EXTRAS

ROOT = Path(__file__).parents[2]

BARE = """
import importlib.util, sys

NAMES = {names!r}
find = importlib.util.find_spec

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NAMES:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
importlib.util.find_spec = lambda name, package=None: None if name in NAMES else find(name, package)
"""
"""Hides the extras' modules, as if they were not installed."""


def bare(code: str, *arguments: str, names: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LIVESHELF_", "KAFKA_", "REDIS_"))}
    return subprocess.run(
        [sys.executable, "-c", BARE.format(names=names) + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=env | {"COLUMNS": "300"},
    )


ALL = tuple(name for names in EXTRAS.values() for name in names)
# peft, which serves adapters, brings accelerate; scikit-learn is what transformers looks for by itself.
HIDDEN = tuple(name for name in ALL if name != "accelerate")


def test_extras_are_those_of_the_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    brought = {
        name: {canonicalize_name(one) for one in distributions}
        for name, distributions in packages_distributions().items()
    }
    for extra, names in EXTRAS.items():
        wanted = {canonicalize_name(Requirement(one).name) for one in declared[extra]}
        assert {one for name in names for one in brought[name]} == wanted


def test_make_installs_all_extras_that_it_names(tmp_path: Path) -> None:
    """A comma in a function's argument would end it: ``.[local`` is nothing to install."""
    asked = ["make", "-n", f"VENV={tmp_path}", *(f"{tmp_path}/installed{name}" for name in ("", "-dev", "-docs"))]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for extras in ("local,train", "local,train,dev", "local,train,docs"):
        assert f"--editable '.[{extras}]'" in said


def test_roles_do_without_extras() -> None:
    done = bare(
        "import streams.worker, evaluator.process, evaluator.dashboard.server, liveshelf.ingest.importer", names=HIDDEN
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extras"),
    [
        (("demo",), "local,train"),
        (("up",), "local,train"),
        (("trainer",), "train"),
        (("train", "README.md"), "train"),
        (("evaluate",), "evaluate"),
        (("prepare", "README.md"), "evaluate"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which_to_install(arguments: tuple[str, ...], extras: str) -> None:
    done = bare(
        "import sys; from liveshelf.cli.app import main; sys.argv[0] = 'liveshelf'; main()", *arguments, names=ALL
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and f'pip install "liveshelf[{extras}]"' in said, said
    assert "Traceback" not in said
