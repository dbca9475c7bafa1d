"""Kafka's jars: jgo fetches exactly those that ``kafka.lock`` names, by their Maven coordinates, and checks them.

The lock is applied file by file, so no dependency is resolved on the user's machine. An archive of loaded Java classes
beside the jars halves the work of a broker's start. Knows nothing of running them.
"""

import fcntl
import hashlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import LockedDependency, LockFile
from jgo.maven import MavenContext

from liveshelf.stack.process import Process, tail
from liveshelf.stack_record import StackError

LOCK = Path(__file__).with_name("kafka.lock")
PARALLEL = 8


def kafka_jars(say: Callable[[str], None]) -> list[Path]:
    """The paths of all jars of the class path. Missing ones are fetched; their SHA-256 sums are checked.

    Parameters
    ----------
    say : callable
        Called once with a message when jars have to be fetched: at the first start on a machine.

    Raises
    ------
    StackError
        When a jar cannot be fetched, or its sum is not the locked one.
    """
    settings = GlobalSettings.load()
    context = MavenContext(
        repo_cache=settings.repo_cache, remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories}
    )
    locked = LockFile.load(LOCK).dependencies
    settings.repo_cache.mkdir(parents=True, exist_ok=True)
    with (settings.repo_cache / ".liveshelf.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two starts at once must not write the same jar
        missing = sum(not _cached(context, jar) for jar in locked)
        if missing:
            say(f"fetching Apache Kafka ({missing} jars, 45 MB, only this once) into {settings.repo_cache}")
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(lambda jar: _fetch(context, jar), locked))


def beside() -> Path:
    """Our folder beside the jars, for files made from them."""
    return Path(GlobalSettings.load().repo_cache) / ".liveshelf"


def _artifact(context: MavenContext, jar: LockedDependency) -> Any:
    component = context.project(jar.groupId, jar.artifactId).at_version(jar.version)
    return component.artifact(jar.classifier or "", jar.packaging)


def _cached(context: MavenContext, jar: LockedDependency) -> bool:
    return bool(_artifact(context, jar).cached_path.exists())


def _fetch(context: MavenContext, jar: LockedDependency) -> Path:
    artifact = _artifact(context, jar)
    path = Path(artifact.cached_path)
    if path.exists() and _sha256(path) != jar.sha256:
        path.unlink()  # an interrupted download
    try:
        artifact.resolve()
    except (RuntimeError, OSError) as error:  # requests' errors are OSErrors
        path.unlink(missing_ok=True)
        raise StackError(
            f"Apache Kafka could not be fetched: {jar.artifactId} {jar.version}: {type(error).__name__}. "
            "Check the network and start again (fetched jars are kept); behind a mirror, name it as 'central' "
            "under [repositories] in jgo's settings file; or use your own broker: set KAFKA_BOOTSTRAP_SERVERS."
        ) from error
    if _sha256(path) != jar.sha256:
        path.unlink()
        raise StackError(
            f"The jar {jar.artifactId} {jar.version} is not the one that was locked (its SHA-256 sum differs), so it "
            "was not run and is removed. Start again; if this happens again, the mirror is damaged."
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


log = logging.getLogger(__name__)

CLASSES = Path(__file__).with_name("kafka.classes")
"""The output of ``-XX:DumpLoadedClassList`` for a broker and for formatting its storage: names only, sorted."""

MADE_WITHIN_S = 120.0


def archive(java: Path, options: Sequence[str], jars: Sequence[Path], folder: Path) -> list[str]:
    """Java's option that names the class archive. A missing one is made, once on a machine, in some seconds.

    Parameters
    ----------
    java, options, jars
        The program, its options, and its class path.
    folder
        For the archive, 65 MB; archives of other versions there are removed.
    """
    file = folder / f"{_key(java, jars)}.jsa"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # the second of two processes finds the archive of the first
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
