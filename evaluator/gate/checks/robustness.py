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
from evaluator.gate.typing_errors import KINDS, perturb
from models.scorer import Floats
from models.training.measures import spearman

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
