"""Robustness to carelessly written queries: rank correlation before and after a change, and nDCG after it.

Changes are typos, capitals, missing words and stray spaces, which do not change what a query means. Pure but for the
scorers, which it calls. The champion's figures stand beside: a catalogue of difficult words is difficult for both.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Groups, RankedList, Score, answers
from evaluator.gate.figures.quality import Worth, of_orders, paired
from evaluator.gate.thresholds import Figure
from evaluator.gate.typing_errors import KINDS, perturb, seeded
from models.measures.names import NDCG, RANK_CORRELATION, perturbed
from models.measures.ranking import correlation, ndcg
from models.scorer import Floats

FEWEST = 3
"""Least items of a list whose rank correlation is measured."""


def robustness_figures(
    lists: Sequence[RankedList],
    scorers: tuple[tuple[Score, Sequence[Floats]], tuple[Score, Sequence[Floats]]],
    config: GateConfig,
    bootstrap: Bootstrap,
    worth: Worth,
) -> Iterator[Figure]:
    """Two figures of each kind: the rank correlation of scores before and after, and nDCG@10 after.

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
        some, changed = [lists[place] for place in chosen], [requests[place] for place in chosen]
        groups = Groups.of(some)
        correlations, after = [], []
        for score, found in scorers:
            before = [worth(found[place]) for place in chosen]
            now = [worth(part) for part in answers(score, changed)]
            correlations.append(np.array([correlation(*pair) for pair in zip(before, now, strict=True)], np.float64))
            after.append(of_orders(ndcg, some, now))
        for name, values in ((RANK_CORRELATION, correlations), (NDCG, after)):
            yield paired(name, values, groups, bootstrap, perturbed(kind), "there are no queries to change")


def _perturbed(request: GateRequest, kind: str, seed: int) -> GateRequest:
    return request._replace(query=perturb(request.query, kind, seeded(seed, kind, request.query)))
