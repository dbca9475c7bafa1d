"""Loads and saves rankers.

Knows files; nothing of what a feature means, nor of the store.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.ranker.columns import Columns, Floats, Scaling
from models.ranker.kinds import Kind, Linear, Network, Ranker, Trees
from models.ranker.tensors import read_tensors
from models.weights import WeightsError

FORMAT = 1
CONFIG, TREES, TENSORS, FIRST = "config.json", "ranker.txt", "ranker.safetensors", "first.safetensors"
PRIOR = Path(__file__).with_name("prior.toml")


class Config(msgspec.Struct, frozen=True):
    """``config.json``: which kind of ranker the folder has, and its features in the order of its weights."""

    kind: Kind
    features: tuple[str, ...]
    format: int = FORMAT


def load(folder: Path, known: Sequence[str]) -> Ranker:
    """The ranker in a folder.

    Parameters
    ----------
    known
        The columns of the arrays that it will be given; more than it uses may be among them.

    Raises
    ------
    WeightsError
        When a file is missing or damaged, has weights of another size or that are not finite, or a feature that is
        not known.
    """
    config = _config(folder)
    columns = Columns.of(config.features, known)
    match config.kind:
        case "linear":
            return _linear(folder / TENSORS, columns)
        case "network":
            return _network(folder / TENSORS, columns)
        case "trees":
            path = folder / TREES
            try:
                return Trees(columns, path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, WeightsError) as error:
                raise WeightsError(f"{path} cannot be read: {error}") from error


def first_stage(folder: Path, known: Sequence[str]) -> Linear | None:
    """The linear ranker in a folder that cuts candidates before its ranker; None where it has none.

    Raises
    ------
    WeightsError
        As :func:`load`.
    """
    path = folder / FIRST
    return _linear(path, Columns.of(_config(folder).features, known)) if path.is_file() else None


def packaged(known: Sequence[str]) -> Linear:
    """The ranker that comes with Liveshelf, for a shop that has trained none. ``docs/training.md`` says what it is of.

    Raises
    ------
    WeightsError
        When a feature of it is not known.

    Examples
    --------
    >>> from models.ranker import packaged
    >>> packaged(["age"])
    Traceback (most recent call last):
    ...
    models.weights.WeightsError: the ranker needs features that are not computed here: ...
    """
    features: dict[str, dict[str, float]] = tomllib.loads(PRIOR.read_text(encoding="utf-8"))["features"]

    def numbers(name: str, default: float) -> Floats:
        return np.array([one.get(name, default) for one in features.values()], np.float32)

    relative = np.array(["spread" not in one for one in features.values()])
    scaling = Scaling(numbers("mean", 0.0), numbers("spread", 1.0), relative)
    weights = np.concatenate([numbers("weight", 0.0), numbers("missing", 0.0)])
    return Linear(Columns.of(tuple(features), known), scaling, weights)


def save(ranker: Ranker, first: Linear | None, folder: Path) -> None:
    """Write a ranker, and the linear one before it; equal rankers make equal bytes.

    Raises
    ------
    ValueError
        When the two have not the same features, or the ranker is of no kind that a folder can hold.
    """
    if first is not None and first.features != ranker.features:
        raise ValueError("a first stage has the features of the ranker after it")
    folder.mkdir(parents=True, exist_ok=True)
    match ranker:
        case Linear():
            _save(folder / TENSORS, ranker.scaling, weights=ranker.weights)
        case Network():
            layers = {"inner": ranker.inner, "inner_bias": ranker.inner_bias, "outer": ranker.outer}
            _save(folder / TENSORS, ranker.scaling, **layers)
        case Trees():
            (folder / TREES).write_text(ranker.text, encoding="utf-8")
        case _:
            raise ValueError(f"{ranker} is of no kind that a folder can hold")
    if first is not None:
        _save(folder / FIRST, first.scaling, weights=first.weights)
    config = Config(ranker.kind, ranker.features)
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")


def _save(path: Path, scaling: Scaling, **weights: Floats) -> None:
    from safetensors.numpy import save_file

    tensors: dict[str, npt.NDArray[Any]] = {
        "means": scaling.means,
        "spreads": scaling.spreads,
        "relative": scaling.relative.astype(np.uint8),
        **weights,
    }
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, path)


def _config(folder: Path) -> Config:
    path = folder / CONFIG
    try:
        config = msgspec.json.decode(path.read_bytes(), type=Config)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise WeightsError(f"{path} is no config of a ranker: {error}") from error
    if config.format > FORMAT:
        raise WeightsError(f"{path} is of format {config.format}; this release of Liveshelf understands {FORMAT}")
    return config


def _linear(path: Path, columns: Columns) -> Linear:
    scaling, found = _read(path, columns, {"weights": (2 * len(columns.features),)})
    return Linear(columns, scaling, found["weights"].astype(np.float32))


def _network(path: Path, columns: Columns) -> Network:
    layers = {"inner": (2 * len(columns.features), None), "inner_bias": (None,), "outer": (None,)}
    scaling, found = _read(path, columns, layers)
    inner, bias, outer = (found[name].astype(np.float32) for name in layers)
    if not inner.shape[1] == len(bias) == len(outer):
        raise WeightsError(f"{path} has layers that do not fit each other")
    return Network(columns, scaling, inner, bias, outer)


def _read(
    path: Path, columns: Columns, shapes: dict[str, tuple[int | None, ...]]
) -> tuple[Scaling, dict[str, npt.NDArray[Any]]]:
    scales: dict[str, tuple[int | None, ...]] = dict.fromkeys(
        ("means", "spreads", "relative"), (len(columns.features),)
    )
    found = read_tensors(path, scales | shapes)
    if not (found["spreads"] > 0).all():
        raise WeightsError(f"{path} has spreads that are not positive")
    means, spreads = (found[name].astype(np.float32) for name in ("means", "spreads"))
    return Scaling(means, spreads, found["relative"].astype(bool)), found
