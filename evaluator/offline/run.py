"""A run: every contender in a process of its own, its results in files, so that a crash costs one row and a killed run
goes on where it was.

Knows processes and files; what is measured is the dimensions' business.
"""

import hashlib
import multiprocessing
import os
import re
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from evaluator.message import Message, Text, said
from evaluator.offline.contenders import contender as contenders
from evaluator.offline.contenders.contender import checked, checked_chances
from evaluator.offline.data import Case, Document, EvaluationData, problems
from evaluator.offline.dimensions import dimension as dimensions
from evaluator.offline.dimensions.dimension import Bench, Part
from evaluator.offline.loaders import load
from evaluator.offline.resampling import Resampling
from evaluator.offline.safety.privacy import told_of
from evaluator.offline.sources import require_unchanged
from evaluator.offline.spec import Spec
from evaluator.preparation.tables import DataError
from models.store.atomic import replacing, write_whole

SPEC = "spec.json"
"""What a run was asked to do, in its folder."""

SCORING, PROCESS = "scoring", "process"
"""Stages of a contender besides its dimensions: fitting and scoring, and its process as a whole."""

AT_ONCE = 256
"""Cases scored between two reports of progress."""

PATIENCE = 0.2
"""Seconds without a message after which it is asked whether a process still runs."""

Say = Callable[[str, str, float], None]
"""Takes a contender, a stage and the share of it that is done."""


class Failure(msgspec.Struct, kw_only=True):
    """Why a contender, or one dimension of it, has no figures: what may be told of the error, never a text of a
    shopper."""

    stage: str
    error: Text


class Result(msgspec.Struct, kw_only=True):
    """All that a run has of one contender."""

    contender: str
    parts: dict[str, Part] = {}
    failures: list[Failure] = []
    seconds: dict[str, float] = {}
    peak_mb: float = 0.0


def prepare(spec: Spec, folder: Path) -> EvaluationData:
    """Check what is asked for, and write it into the run's folder.

    Raises
    ------
    DataError
        When the data cannot be evaluated, the folder holds another evaluation, or it cannot be written to.
    evaluator.offline.contenders.contender.ContenderError, models.weights.WeightsError, models.store.errors.StoreError
        When a contender does not exist. Nothing is written then.
    """
    for name in spec.contenders:
        contenders.require(name)
    for name in spec.dimensions:
        if name not in dimensions.names():
            raise DataError(f"There is no dimension {name!r}; there are {', '.join(dimensions.names())}.")
    before = folder / SPEC
    if before.is_file() and msgspec.json.decode(before.read_bytes(), type=Spec) != spec:
        raise DataError(f"{folder} holds another evaluation. Name another folder with --out, or remove it.")
    data = load(spec)
    if found := problems(data):
        raise DataError(" ".join(found))
    try:
        write_whole(before, msgspec.json.format(msgspec.json.encode(spec)))
        require_unchanged(spec, folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror}. Name another folder with --out.") from error
    return data


def run(spec: Spec, folder: Path, say: Say) -> list[Result]:
    """Evaluate every contender; what an earlier, interrupted run has finished is not done again.

    What failed there is tried again, and counts as failed until it succeeds.
    """
    for left in folder.rglob("*.part"):  # of a run that was killed while it wrote
        left.unlink()
    return [_contender(spec, folder, name, say) for name in spec.contenders]


def _contender(spec: Spec, folder: Path, name: str, say: Say) -> Result:
    place = folder.absolute() / "contenders" / slug(name)  # a contender may change its working folder
    if missing := _missing(spec, place):
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(spec, place, name, missing, theirs))
        process.start()  # no daemon: a contender may have processes of its own
        theirs.close()
        try:
            for stage, share in _messages(ours, process):
                say(name, stage, share)
        except BaseException:
            process.kill()
            raise
        finally:
            process.join()
        if process.exitcode or _unsaid(missing, place):
            _write_failure(place, Failure(stage=PROCESS, error=_ending(process.exitcode or 0)))
        else:
            _failure_file(place, PROCESS).unlink(missing_ok=True)
    return collected(spec, folder, name)


def collected(spec: Spec, folder: Path, name: str) -> Result:
    """What the files of a run have of one contender."""
    place, result = folder / "contenders" / slug(name), Result(contender=name)
    for wanted in _wanted(spec):
        if (file := place / f"{wanted}.json").is_file():
            result.parts[wanted] = msgspec.json.decode(file.read_bytes(), type=Part)
    for file in sorted(place.glob("failure-*.json")):
        result.failures.append(msgspec.json.decode(file.read_bytes(), type=Failure))
    if (file := place / "times.json").is_file():
        times = msgspec.json.decode(file.read_bytes(), type=dict[str, float])
        result.peak_mb = times.pop("peak_mb", 0.0)
        result.seconds = times
    return result


def scores_of(folder: Path, name: str, cases: Sequence[Case]) -> list[np.ndarray[Any, Any]] | None:
    """A contender's scores of all cases, as its run left them; None where it failed."""
    file = folder / "contenders" / slug(name) / "scores.npz"
    if not file.is_file():
        return None
    with np.load(file) as arrays:
        flat = arrays["scores"]
    return np.split(flat, np.cumsum([len(case.items) for case in cases])[:-1])


def slug(name: str) -> str:
    """A contender's folder: another one for every name, of a length that every file system takes.

    Examples
    --------
    >>> slug("bm25"), slug("version:/models#champion")
    ('bm25', 'version__models_champion-b874596c')
    """
    safe = re.sub(r"[^A-Za-z0-9.-]", "_", name)[:100]
    return safe if safe == name else f"{safe}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _wanted(spec: Spec) -> list[str]:
    return spec.dimensions or dimensions.names()


def _missing(spec: Spec, place: Path) -> list[str]:
    """The dimensions without a result: those that were not reached, and those that failed, which are tried again."""
    return [name for name in _wanted(spec) if not (place / f"{name}.json").is_file()]


def _ending(exit_code: int) -> Message:
    """What an exit code says.

    Examples
    --------
    >>> str(_ending(7)), str(_ending(-9))
    ('its process ended with exit code 7', 'its process was killed, as where memory runs out')
    """
    if exit_code == -signal.SIGKILL:
        return said("its process was killed, as where memory runs out")
    if exit_code < 0:
        return said("its process was ended by {signal}", signal=signal.Signals(-exit_code).name)
    return said("its process ended with exit code {code}", code=exit_code)


def _unsaid(missing: Sequence[str], place: Path) -> bool:
    """Whether a process has ended without a result or a failure of what it was to measure."""
    if _failure_file(place, SCORING).is_file():
        return False
    return not all((place / f"{one}.json").is_file() or _failure_file(place, one).is_file() for one in missing)


def _messages(pipe: Any, process: Any) -> Iterator[tuple[str, float]]:
    """What a process says until it ends; others that it started may hold its pipe open for longer."""
    while pipe.poll(PATIENCE) or process.is_alive():
        try:
            if pipe.poll():
                yield pipe.recv()
        except (EOFError, OSError):
            return


def _child(spec: Spec, place: Path, name: str, missing: Sequence[str], pipe: Any) -> None:
    """In a process of its own: fit, score, then each dimension; a failure of one leaves the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, with which this process ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("EVALUATION_CACHE", str(place.parent.parent / "answers"))
    try:
        bench = _bench(spec, place, name, pipe)
    except Exception as error:
        _fail(place, SCORING, error)
        return
    _failure_file(place, SCORING).unlink(missing_ok=True)
    for dimension in missing:
        part_of = replace(bench, progress=lambda share, dimension=dimension: pipe.send((dimension, share)))  # type: ignore[misc]
        pipe.send((dimension, 0.0))
        try:
            content = msgspec.json.encode(dimensions.named(dimension).measure(part_of), enc_hook=plain)
            msgspec.json.decode(content, type=Part)  # what cannot be read again is a failure of this dimension
        except Exception as error:
            _fail(place, dimension, error)
        else:
            write_whole(place / f"{dimension}.json", content)
            _failure_file(place, dimension).unlink(missing_ok=True)
        pipe.send((dimension, 1.0))


def plain(value: object) -> object:
    """numpy's numbers and arrays as Python's, for JSON."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no value of a report")


def _end_with_parent() -> None:
    """End when the run is killed: a later one may already write the same files."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _peak_mb() -> float:
    """The largest memory that this process had. Where there is no ``/proc``, ``getrusage`` says it, which on Linux
    would count what the process had that started this one."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def _bench(spec: Spec, place: Path, name: str, pipe: Any) -> Bench:
    require_unchanged(spec, place.parent.parent)
    data = with_further_items(load(spec), spec)
    resampling = Resampling.of([case.group for case in data.cases], spec.draws, spec.seed)
    contenders.maker(name)  # imports its libraries, which is no part of the contender's start-up
    started, cpu = time.perf_counter(), time.process_time()
    pipe.send(("fitting", 0.0))
    contender = contenders.make(name)
    hidden = data.blind()
    contender.fit(hidden)
    fitted, fit_cpu = time.perf_counter(), time.process_time() - cpu
    cases, scores = hidden.cases, []
    for start in range(0, len(cases), AT_ONCE):
        some = cases[start : start + AT_ONCE]
        scores += checked(contender.score(some), some)
        pipe.send(("scoring", min(1.0, (start + AT_ONCE) / len(cases))))
    scored = time.perf_counter()
    probabilities = getattr(contender, "probabilities", None)
    given = None if probabilities is None or data.task == "feed" else checked_chances(probabilities(cases), cases)
    peak_mb = _peak_mb()
    seconds = {"fit": fitted - started, "score": scored - fitted, "fit_cpu": fit_cpu}
    write_whole(place / "times.json", msgspec.json.encode(seconds | {"peak_mb": peak_mb}))
    with replacing(place / "scores.npz") as file:
        np.savez_compressed(file, scores=np.concatenate(scores))
    return Bench(
        contender,
        data,
        scores,
        given,
        resampling,
        spec.seed,
        seconds,
        peak_mb=peak_mb,
        price_per_core_hour=spec.price_per_core_hour,
    )


def with_further_items(data: EvaluationData, spec: Spec) -> EvaluationData:
    """The same data, with the items that its dimensions have ranked besides."""
    further: dict[str, Document] = {}
    for name in _wanted(spec):
        further |= dimensions.named(name).further_items(data, spec.seed)
    return replace(data, items={**data.items, **further}, further=tuple(further))


def _fail(place: Path, stage: str, error: BaseException) -> None:
    (place / "logs").mkdir(parents=True, exist_ok=True)
    (place / "logs" / f"{stage}.txt").write_text(traceback.format_exc(), "utf-8")
    _write_failure(place, Failure(stage=stage, error=told_of(error)))


def _write_failure(place: Path, failure: Failure) -> None:
    write_whole(_failure_file(place, failure.stage), msgspec.json.encode(failure))


def _failure_file(place: Path, stage: str) -> Path:
    return place / f"failure-{stage}.json"
