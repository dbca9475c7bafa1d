"""Labelled examples, and files of them.

Knows values and files; nothing of models. A grade and an intent are two forms of the same label: both become a
distribution over the four intents, which lie on one scale: ignore (0), look, read, buy (1).
"""

import gzip
import lzma
import math
import random
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.intents import INTENTS
from models.scorer import Floats

LEVELS = {"buy": 1.0, "read": 2 / 3, "look": 1 / 3, "ignore": 0.0}
OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
TABLES = (".csv", ".tsv", ".parquet")
SAMPLE = '{"query": "hose", "item": "Garden hose, 20 m", "intent": "buy"}'


class ExamplesError(ValueError):
    """Examples that cannot be used; the message names the file, the line and what to do."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """An item that was shown in a context, and the outcome.

    Attributes
    ----------
    query
        As typed; empty where the context is only the history.
    history
        Texts of the shopper's recent items, newest first.
    asked
        The shopper's past queries, newest first.
    weights
        The weight of each of ``history``, then of ``asked``, when the item was ranked; empty where all are one.
    item
        Text of the item.
    popularity
        The demand for it when it was ranked, in 0..1.
    intent, grade
        The outcome: one of buy, read, look, ignore; or a grade in 0..1. Exactly one of the two.
    position
        The position at which it was shown, from 0; used for debiasing.
    weight
        The example's weight, such as an inverse propensity.
    teacher
        Another model's logits of the four intents, for distillation.
    shopper
        The shopper's id; empty where it is not known. No model reads it: the evaluation of models uses it, since one
        shopper's examples are not independent.

    Examples
    --------
    >>> Example(query="hose", item="Garden hose", intent="buy").target().tolist()
    [1.0, 0.0, 0.0, 0.0]
    >>> Example(query="hose", item="Tap", grade=0.5).target().round(2).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """

    item: str
    query: str = ""
    history: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    popularity: float = 0.0
    intent: str | None = None
    grade: float | None = None
    position: int | None = None
    weight: float = 1.0
    teacher: tuple[float, float, float, float] | None = None
    shopper: str = ""

    def __post_init__(self) -> None:
        if (self.intent is None) == (self.grade is None):
            raise ValueError("an example needs an intent or a grade, and only one of them")
        if self.intent is not None and self.intent not in INTENTS:
            raise ValueError(f"the intent {self.intent!r} is none of {', '.join(INTENTS)}")
        if self.grade is not None and not 0 <= self.grade <= 1:
            raise ValueError(f"the grade {self.grade} is not between 0 and 1")
        if not (self.query.strip() or self.history or self.asked):
            raise ValueError("an example needs a query or a history")
        if self.weights and len(self.weights) != len(self.history) + len(self.asked):
            raise ValueError(
                f"{len(self.weights)} weights are given, for {len(self.history)} items and {len(self.asked)} queries"
            )
        if not 0 < self.weight < math.inf:
            raise ValueError(f"the weight {self.weight} is not above zero and finite")

    @property
    def level(self) -> float:
        """The grade, or the intent's place on the same scale from 0 to 1."""
        return self.grade if self.grade is not None else LEVELS[self.intent or ""]

    def target(self) -> Floats:
        """Float32 [4], columns as :data:`models.intents.INTENTS`, whose mean level is :attr:`level`."""
        return soft_target(self.level)


def soft_target(level: float) -> Floats:
    """The distribution over intents of a level; one between two intents is split between both, by nearness."""
    share = 1 - 3 * np.abs(level - np.array([LEVELS[intent] for intent in INTENTS]))
    target: Floats = np.clip(share, 0, None).astype(np.float32)
    return target


def expected_level(probabilities: Floats) -> Floats:
    """Mean level of predicted intents [n, 4], in 0..1: the predicted grade.

    Examples
    --------
    >>> expected_level(np.array([[0.5, 0.0, 0.0, 0.5]], np.float32)).tolist()
    [0.5]
    """
    levels: Floats = probabilities @ np.array([LEVELS[intent] for intent in INTENTS], np.float32)
    return levels


def read_examples(
    file: Path,
    fields: Mapping[str, str] | None = None,
    grades: tuple[float, float] = (0.0, 1.0),
    limit: int | None = None,
) -> list[Example]:
    """Read JSON lines, plain, ``.gz`` or ``.xz``; empty lines are ignored.

    Parameters
    ----------
    fields
        The line's fields for those of :class:`Example`, such as ``{"item": "title"}``; others have the same name.
    grades
        The lowest and highest grade of the file, which become 0 and 1.
    limit
        The most examples to read.

    Raises
    ------
    ExamplesError
        On the first line that is not an example, or where there is no example at all.
    """
    kind = (file.with_suffix("") if file.suffix in OPENERS else file).suffix.lower()
    if kind in TABLES:
        raise ExamplesError(f"{file}: examples are JSON lines, not {kind}; write it as lines like {SAMPLE}")
    if grades[0] == grades[1]:
        raise ExamplesError(f"{file}: its lowest and its highest grade cannot both be {grades[0]:g}; give two")
    names = {name: name for name in Example.__struct_fields__} | dict(fields or {})
    examples: list[Example] = []
    number = 0
    try:
        with OPENERS.get(file.suffix, open)(file, "rb") as lines:
            for line in lines:
                if limit is not None and len(examples) >= limit:
                    break
                number += 1
                if not line.isspace():
                    examples.append(_example(line.decode("utf-8-sig"), names, grades))
    except UnicodeDecodeError as error:
        raise ExamplesError(f"{file}, line {number} is not UTF-8: {error}; save the file as UTF-8") from error
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise ExamplesError(f"{file}, line {number} is no example: {error}") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ExamplesError(f"{file} cannot be read beyond line {number}: {error}. Is it whole? Get it anew") from error
    if not examples:
        raise ExamplesError(f"{file} holds no examples; a line of it should be like {SAMPLE}")
    return examples


def _example(line: str, names: Mapping[str, str], grades: tuple[float, float]) -> Example:
    row = msgspec.json.decode(line, type=dict[str, Any])
    values = {name: row[field] for name, field in names.items() if row.get(field) is not None}
    if "item" not in values:
        raise ValueError(
            f"it has no field {names['item']!r} for the item; its fields are {', '.join(row) or 'none'}: "
            "map one of them, as item=title"
        )
    if "grade" in values:
        low, high = grades
        grade = float(values["grade"])
        if not min(grades) <= grade <= max(grades):
            raise ValueError(f"the grade {grade:g} is not between {low:g} and {high:g}; give the file's own bounds")
        values["grade"] = (grade - low) / (high - low)
    if "shopper" in values:
        values["shopper"] = str(values["shopper"])  # some files have numbers
    return msgspec.convert(values, Example)


def split(examples: Sequence[Example], share: float, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """Hold out a share of the contexts; no context is in both parts, and of two or more each part has at least one.

    Examples
    --------
    >>> kept, held_out = split([Example(query=str(i // 2), item="x", grade=1) for i in range(8)], 0.25)
    >>> len(kept), len(held_out)
    (6, 2)
    """
    contexts = sorted({context(example) for example in examples})
    random.Random(seed).shuffle(contexts)
    count = round(share * len(contexts))
    if 0 < share < 1 and len(contexts) > 1:
        count = min(max(count, 1), len(contexts) - 1)
    chosen = set(contexts[:count])
    kept = [example for example in examples if context(example) not in chosen]
    return kept, [example for example in examples if context(example) in chosen]


Key = tuple[str, tuple[str, ...], tuple[str, ...], tuple[float, ...]]


def context(example: Example) -> Key:
    """The context in which an item was shown: examples with the same one are ranked against each other."""
    return example.query, example.history, example.asked, example.weights


def by_context(examples: Iterable[Example], key: Callable[[Example], Hashable] = context) -> list[list[Example]]:
    """Examples grouped by context, in the order of each context's first one; ``key`` identifies a context."""
    found: dict[Hashable, list[Example]] = {}
    for example in examples:
        found.setdefault(key(example), []).append(example)
    return list(found.values())
