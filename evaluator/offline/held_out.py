"""Contenders on a trainer's held-out slice as its gate measures them: two by two, the reference and each of the others.

Knows served models and the summary; the figures are :mod:`evaluator.gate`'s. Times are taken of both models in turn, so
both are in one process.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from evaluator.gate import held_out
from evaluator.gate.dataset import AnswerError, ranked_lists
from evaluator.gate.figures.feeds import Feeds
from evaluator.gate.gate import figures_of
from evaluator.gate.held_out import HeldOut
from evaluator.gate.thresholds import Figure
from evaluator.offline.contenders import contender as contenders
from evaluator.offline.contenders.bert import ServedModel
from evaluator.offline.data import EvaluationData
from evaluator.offline.spec import Spec
from evaluator.offline.summary import Row, Summary
from models.measures.names import EXPOSURE_BY_BRAND, EXPOSURE_BY_ITEM, FEEDS, LATENCY_P50, LATENCY_P99, RANK_CORRELATION
from streams.serving.loaded_model import feed_ranker

SAYS = "As the trainer's gate measures it, beside the reference on the same lists."

Key = tuple[str, str, str]

DIMENSIONS = {
    RANK_CORRELATION: "robustness",
    EXPOSURE_BY_ITEM: "fairness",
    EXPOSURE_BY_BRAND: "fairness",
    LATENCY_P50: "cost",
    LATENCY_P99: "cost",
}
"""Where the gate's figures belong; others to effect, those of changed queries to robustness."""


def as_the_gate(summary: Summary, spec: Spec, data: EvaluationData) -> None:
    """Put the gate's figures into the summary, in place of those of the same names.

    A contender that is no model of ours has none, and a contender whose answers are no probabilities fails.
    """
    held = held_out.read(Path(spec.data))
    rows = {(row.contender, row.measure, row.segment): row for row in summary.rows}
    reference = _model(spec.contenders[0], data, summary)
    for name in spec.contenders[1:] if reference is not None else ():
        if (model := _model(name, data, summary)) is None:
            continue
        assert reference is not None
        try:
            for figure in _figures(reference, model, held):
                _put(rows, figure, name)
                _put(rows, _of_reference(figure), spec.contenders[0])
        except AnswerError as error:
            summary.failures.setdefault(name, []).append(f"gate: {error}")
    summary.rows, summary.confidence = list(rows.values()), held.settings.confidence


def _model(name: str, data: EvaluationData, summary: Summary) -> ServedModel | None:
    if name in summary.failures:
        return None
    found = contenders.make(name)
    if isinstance(found, ServedModel):
        found.fit(data)
        return found
    return None


def _figures(reference: ServedModel, other: ServedModel, held: HeldOut) -> Iterator[Figure]:
    config = held.settings
    lists = ranked_lists(held.examples, config.most_contexts)
    for model in (reference, other):
        model.served.items.add(text for one in held.feeds for text in (*one.items, *one.history))
    feeds = Feeds(held.feeds, feed_ranker(reference.parts), feed_ranker(other.parts))
    return figures_of(reference.served, other.served, lists, config, worth=held.worth, brands=held.brands, feeds=feeds)


def _of_reference(figure: Figure) -> Figure:
    plain = Figure(measure=figure.measure, unit=figure.unit, segment=figure.segment, value=figure.reference)
    return msgspec.structs.replace(plain, count=figure.count, counted=figure.counted)


def _put(rows: dict[Key, Row], figure: Figure, contender: str) -> None:
    """In place of the row of the same name, whose interval stays where it is of the same cases."""
    key = contender, figure.measure, figure.segment
    own = {name: getattr(figure, name) for name in Figure.__struct_fields__ if name not in ("contender", "dimension")}
    if (row := rows.get(key)) is not None:
        if row.value is not None and figure.value is not None and math.isclose(row.value, figure.value, rel_tol=1e-6):
            own |= {"low": row.low, "high": row.high}
        rows[key] = msgspec.structs.replace(row, **own)
    elif figure.value is not None or figure.difference is not None:
        robust = figure.segment not in ("", FEEDS)
        dimension = DIMENSIONS.get(figure.measure, "robustness" if robust else "effect")
        rows[key] = Row(contender=contender, dimension=dimension, better=None, says=SAYS, **own)
