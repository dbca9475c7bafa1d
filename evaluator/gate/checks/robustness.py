"""Robustness to carelessly written queries: rank correlation before and after a change, and nDCG after it.

Changes are typos, capitals, missing words and stray spaces, which do not change what a query means. Pure but for the
scorers, which it calls. Compares with the champion: a catalogue of difficult words is difficult for both.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.gate.bootstrap import Bootstrap, Groupings
from evaluator.gate.checks.quality import Worth, mean_difference, ndcgs
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Groups, RankedList, Score, answers
from evaluator.gate.report import Check
from models.scorer import Floats
from models.training.measures import spearman

KINDS = ("typo", "keyboard", "case", "words", "spaces")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_PLACES = {letter: (row, column) for row, letters in enumerate(_ROWS) for column, letter in enumerate(letters)}

NEIGHBOURS = {
    letter: "".join(
        other
        for other, (y, x) in _PLACES.items()
        if other != letter and (abs(x - column) <= 1 if y == row else y - row in {-1, 1} and x - column in {0, row - y})
    )
    for letter, (row, column) in _PLACES.items()
}
"""Keys beside a letter's, on a QWERTY keyboard whose rows are each half a key further right."""


def perturb(text: str, kind: str, chance: random.Random) -> str:
    """A text with one change of a kind; the same text where there is nothing to change.

    ``typo`` swaps two letters, drops one or doubles one, never a word's first; ``keyboard`` types a neighbouring key;
    ``case`` changes to capitals or title case; ``words`` drops a word; ``spaces`` adds some around and between.

    Examples
    --------
    >>> [perturb("garden hose reel", kind, random.Random(1)) for kind in KINDS]
    ['gardden hose reel', 'gaeden hose reel', 'GARDEN HOSE REEL', 'hose reel', 'garden  hose  reel']
    """
    words = text.split()
    match kind:
        case "typo":
            places = [i for i in range(1, len(text) - 1) if all(near.isalpha() for near in text[i - 1 : i + 2])]
            if not places:
                return text
            at = chance.choice(places)
            pair = text[at : at + 2]
            return text[:at] + chance.choice((pair[::-1], pair[1], pair[0] + pair)) + text[at + 2 :]
        case "keyboard":
            places = [i for i, letter in enumerate(text) if letter.lower() in NEIGHBOURS]
            if not places:
                return text
            at = chance.choice(places)
            return text[:at] + chance.choice(NEIGHBOURS[text[at].lower()]) + text[at + 1 :]
        case "case":
            return chance.choice((text.upper(), text.title()))
        case "words":
            lost = chance.randrange(len(words)) if len(words) > 1 else -1
            return " ".join(word for place, word in enumerate(words) if place != lost) if lost >= 0 else text
        case "spaces":
            return chance.choice(("", " ")) + "  ".join(words) + chance.choice(("", "  "))
    raise ValueError(f"there is no kind {kind!r} of perturbation, only {', '.join(KINDS)}")


Numbers = npt.NDArray[np.float64]

FEWEST = 3
"""Least items of a list whose rank correlation is measured."""


def robustness_checks(
    lists: Sequence[RankedList],
    scorers: tuple[tuple[Score, Sequence[Floats]], tuple[Score, Sequence[Floats]]],
    config: GateConfig,
    bootstrap: Bootstrap,
    worth: Worth,
) -> Iterator[Check]:
    """Two checks of each kind: the rank correlation of scores before and after, and nDCG@10 after; each
    challenger minus champion. They pass unless the whole interval is worse by more than the margin.

    Parameters
    ----------
    scorers
        The champion and the challenger, each with its answers to the unchanged lists.
    """
    for kind in KINDS:
        requests = [_perturbed(one.request, kind, config.seed) for one in lists]
        chosen = [
            place
            for place, request in enumerate(requests)
            if request.query != lists[place].request.query and len(request.items) >= FEWEST
        ][: config.robustness_contexts]
        some = [lists[place] for place in chosen]
        groupings = Groups.of(some).groupings
        correlations, ndcg_after = zip(
            *(
                _after(
                    some, [worth(found[place]) for place in chosen], score, [requests[place] for place in chosen], worth
                )
                for score, found in scorers
            ),
            strict=True,
        )
        yield _check(
            f"robustness_{kind}_order", correlations, groupings, config.robustness_order, bootstrap, "Rank correlation"
        )
        yield _check(f"robustness_{kind}_ndcg", ndcg_after, groupings, config.robustness_ndcg, bootstrap, "nDCG@10")


def _perturbed(request: GateRequest, kind: str, seed: int) -> GateRequest:
    return request._replace(query=perturb(request.query, kind, random.Random(f"{seed} {kind} {request.query}")))


def _after(
    lists: Sequence[RankedList], before: Sequence[Floats], score: Score, requests: Sequence[GateRequest], worth: Worth
) -> tuple[Numbers, Numbers]:
    """Each list's rank correlation (NaN where all scores were equal) and nDCG."""
    after = [worth(part) for part in answers(score, requests)]
    correlations = [np.nan if np.ptp(old) == 0 else spearman(old, new) for old, new in zip(before, after, strict=True)]
    return np.array(correlations, np.float64), ndcgs(lists, after)


def _check(
    name: str, values: Sequence[Numbers], groupings: Groupings, margin: float, bootstrap: Bootstrap, what: str
) -> Check:
    champion, challenger = values
    found = mean_difference(challenger - champion, groupings, bootstrap)
    kind = name.split("_")[1]
    if found is None:
        said = f"No queries to try {kind} on."
        return Check(name=name, value=None, interval=None, limit=-margin, passed=True, sentence=said)
    known = ~np.isnan(challenger - champion)
    passed = found.high >= -margin
    said = (
        f"{what} with changed {kind}: champion {champion[known].mean():.4f}, challenger {challenger[known].mean():.4f}"
        + ("." if passed else f", more than {margin:g} worse.")
    )
    return Check(
        name=name, value=found.value, interval=(found.low, found.high), limit=-margin, passed=passed, sentence=said
    )
