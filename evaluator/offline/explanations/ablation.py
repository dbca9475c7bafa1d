"""Scores of a case with some of its words or past items left out. Every contender can be asked for them.

Knows contenders, cases and texts; nothing of explanations' methods. A query, text or history is never left empty, as
services may refuse that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from evaluator.offline.contenders.contender import Contender, TextContender, checked
from evaluator.offline.data import EvaluationData
from evaluator.offline.explanations.explanation import Side, Target, past
from evaluator.offline.resampling import Numbers
from models.words import kept, words


class Reduced(NamedTuple):
    """A target of which only some parts of one side are left: their places, in order."""

    target: Target
    side: Side
    kept: tuple[int, ...]


class Ablation:
    """Scores reduced targets, each once."""

    def __init__(self, contender: Contender, data: EvaluationData) -> None:
        self.contender, self.data = contender, data
        self._known: dict[tuple[str, str, str, Side, tuple[int, ...]], float] = {}

    @property
    def sides(self) -> tuple[Side, ...]:
        """What can be left out of: past items in a feed; else the query's words, and the item's where the contender
        can score a text that is no item's."""
        if self.data.task == "feed":
            return ("history",)
        return ("query", "item") if isinstance(self.contender, TextContender) else ("query",)

    def parts(self, target: Target, side: Side) -> tuple[str, ...]:
        """A target's parts of one side."""
        match side:
            case "query":
                return words(target.case.query)
            case "item":
                return words(self.data.items[target.item].text)
            case "history":
                return past(target.case)

    def lengths(self, parts: Sequence[str], side: Side) -> list[int]:
        """Characters of words, or of past items' texts."""
        return [len(self.data.items[part].text if side == "history" else part) for part in parts]

    def scores(self, wanted: Sequence[Reduced]) -> Numbers:
        """float64 [wanted]"""
        keys = [(one.target.case.id, one.target.case.query, one.target.item, one.side, one.kept) for one in wanted]
        new = {key: one for key, one in zip(keys, wanted, strict=True) if key not in self._known}
        texts = {key: one for key, one in new.items() if one.side == "item"}
        self._known |= zip(texts, self._of_texts(texts.values()), strict=True)
        others = {key: one for key, one in new.items() if one.side != "item"}
        self._known |= zip(others, self._of_cases(others.values()), strict=True)
        return np.array([self._known[key] for key in keys], np.float64)

    def _of_texts(self, wanted: Iterable[Reduced]) -> list[float]:
        found = list(wanted)
        if not found or not isinstance(self.contender, TextContender):
            return []
        cases = [one.target.case for one in found]
        texts = [[kept(self.data.items[one.target.item].text, one.kept)] for one in found]
        return [float(part[0]) for part in checked(self.contender.score_texts(cases, texts), cases)]

    def _of_cases(self, wanted: Iterable[Reduced]) -> list[float]:
        cases = []
        for one in wanted:
            case = one.target.case
            if one.side == "query":
                cases.append(replace(case, query=kept(case.query, one.kept)))
            else:
                items = past(case)
                left = set(items) - {items[place] for place in one.kept}
                cases.append(replace(case, history=tuple(item for item in case.history if item not in left)))
        return [float(part[0]) for part in checked(self.contender.score(cases), cases)] if cases else []
