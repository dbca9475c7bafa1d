"""A text's words and the word pieces that each was split into, to add up what is known of pieces by word.

A word is what stands between spaces; of Chinese, which has no spaces, each character is one, as BERT's tokenizers take
it, or the characters of one piece. Knows texts and places; nothing of tokenizers or of what is added up.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Spans = Sequence[tuple[int, int]]

_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
_WORD = re.compile(rf"[{_CHINESE}]|[^\s{_CHINESE}]+")

SAME = 0.6
"""The cosine from which two pieces are taken for one word: 98 % of the words that a title has to the letter reach it,
and plurals, misspellings and synonyms, but few others (docs/scorer.md has the figures)."""

MOST_NAMED = 3
"""Words that name a match."""


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends.

    Examples
    --------
    >>> word_spans("red hose"), word_spans("水管 5m")
    ([(0, 3), (4, 8)], [(0, 1), (1, 2), (3, 5)])
    """
    return [found.span() for found in _WORD.finditer(text)]


def words(text: str) -> tuple[str, ...]:
    """A text's words as they are written.

    Examples
    --------
    >>> words(" red  hose, 5m"), words("花园水管")
    (('red', 'hose,', '5m'), ('花', '园', '水', '管'))
    """
    return tuple(_WORD.findall(text))


def kept(text: str, places: Collection[int]) -> str:
    """A text of which only the words at some places are left.

    Examples
    --------
    >>> kept("red garden hose", {0, 2}), kept("花园水管", {0, 1, 3}), kept("9水9", {0, 2})
    ('red hose', '花园管', '9 9')
    """
    chosen, found, end = set(places), "", 0
    for place, (start, stop) in enumerate(word_spans(text)):
        if place in chosen:
            word = text[start:stop]
            apart = any(letter.isspace() for letter in text[end:start]) or _one_word(found[-1:] + word[0])
            found += f" {word}" if found and apart else word
            end = stop
    return found


def _one_word(text: str) -> bool:
    return len(list(word_spans(text))) < 2


def _joined(spans: Spans, pieces: Spans) -> list[tuple[int, int]]:
    """Words that touch, as one where a piece stands over both.

    Examples
    --------
    >>> _joined([(0, 1), (1, 2), (2, 3), (4, 8)], [(0, 2), (2, 3), (3, 8)])
    [(0, 2), (2, 3), (4, 8)]
    """
    inside = {place for start, end in pieces for place in range(start + 1, end)}
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and found[-1][1] == start and start in inside:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


class Named(NamedTuple):
    """A word, or words that touch as Chinese ones do: as it is written, and its places."""

    text: str
    places: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a text's first pieces; of a longer text, the words that follow are left out.

    Attributes
    ----------
    spans
        Where each word begins and ends, [w].
    owner
        int64 [p]: the word of each piece; -1 for a piece that belongs to none.
    known
        bool [p]: whether the vocabulary has the piece. A model takes all unknown pieces for the same one, so what it
        says of them is true of the model but not of the word.

    Examples
    --------
    >>> taped = Words.of("tapes red", [(0, 3), (3, 5), (6, 9)])
    >>> taped.sums(np.array([1.0, 2.0, 4.0])).tolist()
    [3.0, 4.0]
    """

    text: str
    spans: Spans
    owner: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, text: str, pieces: Spans, known: npt.ArrayLike | None = None) -> "Words":
        """From where each piece begins and ends in the text; an empty piece belongs to no word."""
        spans = _joined(word_spans(text), pieces)
        ends = [end for _, end in spans]
        starts = np.array([start for start, _ in pieces], np.int64)
        owner = np.searchsorted(ends, starts, side="right").astype(np.int64)
        empty = np.array([end <= start for start, end in pieces], bool)
        owner[empty | (owner >= len(spans))] = -1
        spans = spans[: int(owner.max(initial=-1)) + 1]
        there = np.ones(len(pieces), bool) if known is None else np.asarray(known, bool)
        return cls(text[: spans[-1][1]] if spans else "", spans, owner, there)

    def sums(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Sums of [..., p] by word, float64 [..., w]."""
        found: npt.NDArray[np.float64] = values @ self._member
        return found

    def named(self, matches: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> list[tuple[Named, ...]]:
        """The words of a query that each item has, or has a near one of; what adds most to MaxSim comes first.

        Parameters
        ----------
        matches
            [n, p]: what each piece adds to an item's MaxSim.
        weights
            [p]: the pieces' weights in it.

        Returns
        -------
        For each item at most :data:`MOST_NAMED`: words with a letter or a digit, whose pieces the vocabulary knows
        and have a mean cosine of at least :data:`SAME`, by their weights.

        Examples
        --------
        >>> asked = Words.of("red garden hose", [(0, 3), (4, 10), (11, 15)])
        >>> even = np.full(3, 1 / 3)
        >>> matches = np.array([[0.2, 0.9, 0.95], [0.1, 0.2, 0.3]]) / 3
        >>> [[word.text for word in item] for item in asked.named(matches, even)]
        [['hose', 'garden'], []]
        """
        least = (SAME * self.sums(weights)).tolist()
        tellable = [place for place in self._tellable if least[place] > 0]
        most = None if self._touching else MOST_NAMED
        known: dict[tuple[int, ...], tuple[Named, ...]] = {}  # many items match the same words
        found = []
        for row in self.sums(matches).tolist():
            fit = [place for place in tellable if row[place] >= least[place]]
            fit.sort(key=row.__getitem__, reverse=True)
            key = tuple(fit[:most])
            if key not in known:
                known[key] = self._named(key, row)
            found.append(known[key])
        return found

    @cached_property
    def _member(self) -> npt.NDArray[np.float64]:
        """Which piece belongs to which word, [p, w] of 0 and 1."""
        member: npt.NDArray[np.float64] = (self.owner[:, None] == np.arange(len(self.spans))).astype(np.float64)
        return member

    @cached_property
    def _tellable(self) -> list[int]:
        """Places of the words with a letter or a digit whose pieces are all known."""
        unknown = set(self.owner[~self.known].tolist())
        return [
            place
            for place, (start, end) in enumerate(self.spans)
            if place not in unknown and any(map(str.isalnum, self.text[start:end]))
        ]

    @cached_property
    def _touching(self) -> bool:
        return any(end == start for (_, end), (start, _) in pairwise(self.spans))

    def _named(self, places: Sequence[int], sums: Sequence[float]) -> tuple[Named, ...]:
        """Words as they are written, best first; those that touch are one."""
        runs: list[list[int]] = []
        for place in sorted(places):
            if runs and runs[-1][-1] == place - 1 and self.spans[place - 1][1] == self.spans[place][0]:
                runs[-1].append(place)
            else:
                runs.append([place])
        runs.sort(key=lambda run: sum(sums[place] for place in run), reverse=True)
        return tuple(
            Named(self.text[self.spans[run[0]][0] : self.spans[run[-1]][1]], tuple(run)) for run in runs[:MOST_NAMED]
        )
