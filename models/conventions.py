"""How a model wants its texts: what stands before them, how token states become one vector, and how long they may be.

Reads the files in which sentence-transformers says so; knows presets of models that do not say it, and nothing of what
a model computes.
"""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from models.weights import PACKAGED, WeightsError

Pooling = Literal["mean", "cls"]
T = TypeVar("T")

PROMPTS, POOLING, LENGTH = "config_sentence_transformers.json", "1_Pooling/config.json", "sentence_bert_config.json"


@dataclass(frozen=True, slots=True)
class Conventions:
    """What is said of a model; None is not said.

    Attributes
    ----------
    query_prefix, item_prefix
        Text before each query and before each item.
    pooling
        How a text's vector is made: the mean of all token states, or the first one.
    max_tokens
        The longest text in tokens, with the prefix and the special tokens.
    centred
        Whether the mean vector of some fixed texts is subtracted from all vectors. Models that were trained with a low
        temperature put all texts into a narrow cone, where even unrelated ones have cosines above 0.7. Centred, their
        cosines spread as those of other models do, which thresholds of cosines rely on.

    Examples
    --------
    >>> Conventions(query_prefix="query: ").over(Conventions("", "", "mean"))
    Conventions(query_prefix='query: ', item_prefix='', pooling='mean', max_tokens=None, centred=None)
    """

    query_prefix: str | None = None
    item_prefix: str | None = None
    pooling: Pooling | None = None
    max_tokens: int | None = None
    centred: bool | None = None

    def over(self, other: "Conventions") -> "Conventions":
        """These, and where nothing is said, the others."""
        said = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        return replace(other, **said)


UNSAID = Conventions()
"""Nothing is said of a model."""

PLAIN = Conventions("", "", "mean", None, False)
"""Where nothing is said."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A model by a short name: what :func:`models.weights.resolve` takes, and its conventions."""

    weights: str
    conventions: Conventions = UNSAID


PRESETS = {
    "english": Preset(PACKAGED),
    "multilingual": Preset(
        "intfloat/multilingual-e5-small", Conventions("query: ", "passage: ", "mean", 512, centred=True)
    ),
}


def conventions(weights: str, folder: Path, said: Conventions) -> Conventions:
    """All conventions of a model: as said, else of the preset with its name, else of its folder's files.

    Parameters
    ----------
    weights, folder
        The model's name, and where :func:`models.weights.resolve` found it.

    Raises
    ------
    WeightsError
        When a file of the folder cannot be read, or names a pooling that is not supported.
    """
    named = next((preset.conventions for preset in PRESETS.values() if preset.weights == weights), UNSAID)
    known = said.over(named)
    return known.over(of_folder(folder, pooled=known.pooling is None)).over(PLAIN)


def of_folder(folder: Path, pooled: bool = True) -> Conventions:
    """What the files of sentence-transformers in a model's folder say; ``pooled``: also of its pooling.

    Raises
    ------
    WeightsError
        When a file cannot be read, or names a pooling that is not supported.

    Examples
    --------
    >>> from models.weights import resolve
    >>> of_folder(resolve("packaged"))
    Conventions(query_prefix=None, item_prefix=None, pooling='mean', max_tokens=256, centred=None)
    """
    prompts, pooling, length = (_read(folder / name) for name in (PROMPTS, POOLING, LENGTH))
    try:
        said = prompts.get("prompts") or {}
        return Conventions(
            _typed(said, "query", str),
            next((_typed(said, name, str) for name in ("passage", "document") if name in said), None),
            _pooling(folder, pooling) if pooled and pooling else None,
            _typed(length, "max_seq_length", int),
        )
    except (AttributeError, TypeError) as error:
        raise WeightsError(f"the files of sentence-transformers in {folder} cannot be read: {error}") from error


def _typed(values: dict[str, Any], name: str, kind: type[T]) -> T | None:
    value = values.get(name)
    if value is None or type(value) is kind:
        return value
    raise TypeError(f"{name} is {value!r}, and should be of type {kind.__name__}")


_MODES: dict[str, Pooling] = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}


def _pooling(folder: Path, said: dict[str, Any]) -> Pooling:
    """The pooling of a file in its old form, a switch for each mode, or its new one, the mode's name."""
    on = [name.removeprefix("pooling_mode_") for name, on in said.items() if name.startswith("pooling_mode_") and on]
    mode = str(said.get("pooling_mode") or " and ".join(on) or "nothing")
    without = "" if said.get("include_prompt", True) else " without the prefix"
    if mode not in _MODES or without:
        raise WeightsError(
            f"{folder} pools by {mode}{without}; supported are the mean of all tokens and the first one (cls): "
            "set model.pooling to take one of them"
        )
    return _MODES[mode]


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{file} holds no JSON object")
    return values
