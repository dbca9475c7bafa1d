"""Rankers by behaviour: features of candidates in, a score of each out; and how they are kept in a folder.

A ranker takes columns by name, so one that was learned with fewer features serves where more are computed. It is one of
three kinds: ``linear``, ``network`` and ``trees``. The folder ``ranker/`` of a version has

- ``config.json``: the format, the kind, and the names of the features in order;
- ``ranker.txt`` (trees, LightGBM's own text) or ``ranker.safetensors`` (linear, network);
- ``first.safetensors``: a linear ranker over the same features, which cuts candidates before the ranker sees them;
- ``items.json`` and ``linear.safetensors``: a linear model from item to item (:class:`ItemModel`).

Nothing of it is a pickle. Knows columns and numbers; nothing of what a feature means, nor of how a ranker is learned.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from models.weights import WeightsError

Floats = npt.NDArray[np.float32]
Kind = Literal["linear", "network", "trees"]

FORMAT = 1
CLIP = 4.0
"""Scaled values beyond this many spreads count as this many: so a shop unlike the one of training stays in range."""

CONFIG, TREES, TENSORS, FIRST = "config.json", "ranker.txt", "ranker.safetensors", "first.safetensors"
ITEMS, WEIGHTS = "items.json", "linear.safetensors"
PRIOR = Path(__file__).with_name("prior.toml")


class Ranker(Protocol):
    """What scores candidates by their features. It may be called from several threads."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features it uses."""

    def scores(self, features: Floats, sizes: Sequence[int] | None = None) -> Floats:
        """A score of each row; only differences between the rows of one request mean anything.

        Parameters
        ----------
        features
            float32 [n, F], columns as the ``known`` that it was loaded with; NaN is "not known".
        sizes
            Rows of each request, where rows of several stand one after the other; by default all are of one.

        Returns
        -------
        float32 [n], finite

        Raises
        ------
        ValueError
            When there are not as many columns as ``known``, or the sizes do not add up to the rows.
        """


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """``config.json``: which kind of ranker the folder has, and its features in the order of its weights."""

    kind: Kind
    features: tuple[str, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Where a ranker's features are among the known ones.

    Examples
    --------
    >>> Columns.of(("price", "age"), ("age", "times", "price")).take(np.array([[1, 2, 3]], np.float32)).tolist()
    [[3.0, 1.0]]
    """

    features: tuple[str, ...]
    known: int
    places: npt.NDArray[np.int64] | slice

    @classmethod
    def of(cls, features: Sequence[str], known: Sequence[str]) -> "Columns":
        """By names.

        Raises
        ------
        WeightsError
            When a feature is not known, or is named twice.
        """
        if len(set(features)) != len(features) or not features:
            raise WeightsError(f"a ranker names {len(features)} features, {len(set(features))} of them different")
        if missing := [name for name in features if name not in known]:
            raise WeightsError(
                f"the ranker needs features that are not computed here: {', '.join(missing)}. "
                "It is of another release of Liveshelf; train one with this release"
            )
        places = [known.index(name) for name in features]
        whole = places == list(range(len(known)))
        return cls(tuple(features), len(known), slice(None) if whole else np.array(places))

    def take(self, features: Floats) -> Floats:
        """Its columns, float32 [n, F]."""
        if features.ndim != 2 or features.shape[1] != self.known:
            raise ValueError(f"features of shape {features.shape} for {self.known} known columns")
        return features[:, self.places]


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Brings features to a like size: less the mean, by the spread, clipped; and a flag for what is not known.

    Attributes
    ----------
    means, spreads
        float32 [F]; spreads are positive.
    relative
        bool [F]: those whose mean and spread are taken over the rows of each request instead. They have no scale of
        their own, so counts of a shop with a hundred times the sales look the same.

    Examples
    --------
    >>> scaling = Scaling(np.zeros(2, np.float32), np.ones(2, np.float32), np.array([False, True]))
    >>> scaling(np.array([[9, 10], [np.nan, 30]], np.float32)).tolist()
    [[4.0, -1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
    """

    means: Floats
    spreads: Floats
    relative: npt.NDArray[np.bool_]

    def __call__(self, values: Floats, sizes: Sequence[int] | None = None) -> Floats:
        """float32 [n, 2 F]: scaled values, zero where not known; then one where not known."""
        missing = np.isnan(values)
        scaled = (values - self.means) / self.spreads
        if self.relative.any():
            scaled[:, self.relative] = _within(values[:, self.relative], sizes)
        scaled[missing] = 0.0
        found: Floats = np.concatenate([np.clip(scaled, -CLIP, CLIP), missing], axis=1, dtype=np.float32)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A weighted sum of scaled features, and a weight for each that is not known.

    Attributes
    ----------
    weights
        float32 [2 F].
    """

    columns: Columns
    scaling: Scaling
    weights: Floats

    @property
    def features(self) -> tuple[str, ...]:
        """As :class:`Ranker`."""
        return self.columns.features

    def scores(self, features: Floats, sizes: Sequence[int] | None = None) -> Floats:
        """As :class:`Ranker`."""
        found: Floats = self.scaling(self.columns.take(features), sizes) @ self.weights
        return found


def load(folder: Path, known: Sequence[str]) -> Ranker:
    """The ranker in a folder.

    Parameters
    ----------
    known
        The columns of the arrays that it will be given.

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
        case _:
            raise WeightsError(f"{folder / CONFIG} names a kind of ranker that this release does not have")


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
    >>> "times_decayed" in tomllib.loads(PRIOR.read_text())["features"]
    True
    """
    features: dict[str, dict[str, float]] = tomllib.loads(PRIOR.read_text(encoding="utf-8"))["features"]

    def numbers(name: str, default: float) -> Floats:
        return np.array([one.get(name, default) for one in features.values()], np.float32)

    relative = np.array(["spread" not in one for one in features.values()])
    scaling = Scaling(numbers("mean", 0.0), numbers("spread", 1.0), relative)
    weights = np.concatenate([numbers("weight", 0.0), numbers("missing", 0.0)])
    return Linear(Columns.of(tuple(features), known), scaling, weights)


def save_linear(ranker: Linear, path: Path) -> None:
    """Write its tensors."""
    from safetensors.numpy import save_file

    scaling = ranker.scaling
    tensors = {"means": scaling.means, "spreads": scaling.spreads, "weights": ranker.weights}
    save_file(tensors | {"relative": scaling.relative.astype(np.uint8)}, path)


def save(ranker: Linear, folder: Path, first: Linear | None = None) -> None:
    """Write a ranker, and the linear one before it, which has the same features."""
    folder.mkdir(parents=True, exist_ok=True)
    save_linear(ranker, folder / TENSORS)
    if first is not None:
        save_linear(first, folder / FIRST)
    config = Config("linear", ranker.features)
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")


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


def _tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
    """A file's tensors, finite and of these shapes; a size of -1 may be any."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    for name, shape in shapes.items():
        if name not in found:
            raise WeightsError(f"{path} has no tensor {name}")
        there = found[name].shape
        if len(there) != len(shape) or any(size not in (-1, real) for size, real in zip(shape, there, strict=True)):
            raise WeightsError(f"{path} has {name} of shape {there}, not {shape}")
        if not np.isfinite(found[name].astype(np.float64)).all():
            raise WeightsError(f"{path} holds weights that are not finite numbers, in {name}")
    return found


def _scaling(found: dict[str, npt.NDArray[Any]], path: Path) -> Scaling:
    if not (found["spreads"] > 0).all():
        raise WeightsError(f"{path} has spreads that are not positive")
    return Scaling(
        found["means"].astype(np.float32), found["spreads"].astype(np.float32), found["relative"].astype(bool)
    )


def _linear(path: Path, columns: Columns) -> Linear:
    count = len(columns.features)
    sized = {"means": (count,), "spreads": (count,), "relative": (count,), "weights": (2 * count,)}
    found = _tensors(path, sized)
    return Linear(columns, _scaling(found, path), found["weights"].astype(np.float32))


def _within(values: Floats, sizes: Sequence[int] | None) -> Floats:
    """Scaled over the rows of each request; zero where all are alike."""
    ends = np.cumsum([len(values)] if sizes is None else sizes)
    if len(values) != (ends[-1] if len(ends) else 0):
        raise ValueError(f"requests of {int(ends[-1]) if len(ends) else 0} rows together, and {len(values)} rows")
    found = np.zeros_like(values)
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        rows = values[start:end]
        if not len(rows):
            continue
        counted = np.maximum((~np.isnan(rows)).sum(0), 1)
        mean = np.nansum(rows, 0) / counted
        spread = np.sqrt(np.nansum(np.square(rows - mean), 0) / counted)
        found[start:end] = (rows - mean) / np.maximum(spread, 1e-6)
    return found
