"""What a run was made of: the files by their hashes, versions, the machine, the time.

Knows files and installed packages; names of files are told without their folders.
"""

import hashlib
import os
import platform
import shlex
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from evaluator.offline.sources import DataFile, sources
from evaluator.offline.spec import Spec
from models.store.atomic import write_whole

FILE = "provenance.json"

PACKAGES = (
    "liveshelf",
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "polars",
    "lightgbm",
    "bm25s",
    "captum",
    "scikit-learn",
)
"""Packages whose versions are told, where they are installed."""


class Provenance(msgspec.Struct, kw_only=True):
    """What a run was made of.

    Attributes
    ----------
    made_at
        When its results were first complete, ISO 8601 in UTC.
    command
        What does it again.
    """

    made_at: str
    files: list[DataFile]
    versions: dict[str, str]
    machine: str
    cores: int = 0
    command: str

    @property
    def fingerprint(self) -> str:
        """The hashes of all files as one short text: equal for equal data."""
        return hashlib.sha256(" ".join(f"{one.role}:{one.sha256}" for one in self.files).encode()).hexdigest()[:12]


def provenance(spec: Spec, folder: Path) -> Provenance:
    """What a run was made of, written into its folder. A run that is reported again keeps its time."""
    files = sources(spec, folder)
    made = Provenance(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
        versions={"python": platform.python_version()} | _versions(),
        machine=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 0,
        command=command(spec),
    )
    before = read(folder)
    if before is not None and before.files == files:
        made.made_at = before.made_at
    write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(made)))
    return made


def read(folder: Path) -> Provenance | None:
    """What a run says that it was made of; None where it says nothing."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=Provenance) if file.is_file() else None


def command(spec: Spec) -> str:
    """The command that does the same again, files without their folders.

    Examples
    --------
    >>> command(Spec(data="folder/dev.jsonl", task="graded", contenders=["random", "bm25"], limit=100))
    'liveshelf evaluate random bm25 --data dev.jsonl --task graded --limit 100 --draws 1000 --seed 0'
    """
    words = ["liveshelf", "evaluate", *spec.contenders]
    for option, path in (("--data", spec.data), ("--train", spec.train), ("--items", spec.items)):
        words += [option, Path(path).name] if path else []
    words += ["--task", spec.task]
    words += [word for pair in spec.columns.items() for word in ("--column", "=".join(pair))]
    words += [word for name in spec.dimensions for word in ("--dimension", name)]
    words += ["--limit", str(spec.limit)] if spec.limit else []
    words += ["--hide-texts"] if spec.hide_texts else []
    return shlex.join([*words, "--draws", str(spec.draws), "--seed", str(spec.seed)])


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
