"""Settings of the gate: how good a challenger must be, and how much worse than the champion it may be."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PrivateAttr, model_validator

from evaluator.gate.thresholds import CHALLENGER, GateFile, GateFileError, Threshold, read
from evaluator.gate.typing_errors import KINDS
from models.measures.names import (
    ECE,
    EXPOSURE_BY_BRAND,
    EXPOSURE_BY_ITEM,
    FEEDS,
    LATENCY_P50,
    LATENCY_P99,
    LOG_LOSS,
    MRR,
    NDCG,
    RANK_CORRELATION,
    candidates,
    perturbed,
)
from streams.config import Config, Count, Share

Margin = Annotated[float, Field(ge=0, le=1_000)]
Effect = Annotated[float, Field(gt=0, le=1_000)]
Ratio = Annotated[float, Field(ge=1, le=1_000)]


class GateConfig(Config):
    """Margins are of differences, challenger minus champion; ``loss_margin`` and ``loss_effect`` are shares of the
    champion's log loss. ``loss_effect`` is the smallest gain worth having: a slice that cannot show it is too small.
    With fewer than ``least_feeds`` feeds in which something was touched, feeds are not judged, and their ranker is the
    parent's. ``file`` has further thresholds, in TOML.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    draws: Annotated[int, Field(ge=100, le=1_000_000)] = 2_000
    least_shoppers: Annotated[int, Field(ge=2, le=10_000_000)] = 200
    least_queries: Annotated[int, Field(ge=2, le=10_000_000)] = 200
    least_feeds: Annotated[int, Field(ge=2, le=10_000_000)] = 200
    most_contexts: Count = 5_000
    loss_margin: Margin = 0.0
    loss_effect: Effect = 0.01
    ndcg_margin: Effect = 0.01
    calibration_margin: Margin = 0.01
    pool: Count = 100
    latency_calls: Count = 100
    latency_repeats: Count = 5
    latency_median: Ratio = 1.25
    latency_p99: Ratio = 1.5
    robustness_contexts: Count = 300
    robustness_order: Margin = 0.03
    robustness_ndcg: Margin = 0.01
    exposure_contexts: Count = 200
    exposure_brand: Share = 0.5
    exposure_item: Share = 0.8
    file: Path | None = None
    _own: tuple[Threshold, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.file is not None:
            found = read(self.file)
            _check(self.file, found, self.measured)
            self._own = tuple(found.threshold)
        return self

    @property
    def measured(self) -> list[tuple[str, str]]:
        """All figures that the gate makes of a slice, by measure and segment."""
        robust = [(measure, perturbed(kind)) for kind in KINDS for measure in (RANK_CORRELATION, NDCG)]
        whole = [(name, "") for name in (LOG_LOSS, NDCG, MRR, ECE, EXPOSURE_BY_ITEM, EXPOSURE_BY_BRAND)]
        return [*whole, (NDCG, FEEDS), *robust, *((name, candidates(self.pool)) for name in (LATENCY_P50, LATENCY_P99))]

    @property
    def thresholds(self) -> GateFile:
        """The limits as thresholds, then those of the file."""
        loss: list[Threshold] = []
        if self.loss_margin:
            loss.append(Threshold(measure=LOG_LOSS, difference_below=0.0))
            bound = {"ratio_max": 1 + self.loss_margin}
        else:
            bound = {"difference_below": 0.0}
        loss.append(Threshold(measure=LOG_LOSS, **bound, by="interval", enough_for=self.loss_effect))  # type: ignore[arg-type]
        robust = [
            Threshold(measure=measure, segment=perturbed(kind), difference_min=-margin, by="better_end", optional=True)
            for kind in KINDS
            for measure, margin in ((RANK_CORRELATION, self.robustness_order), (NDCG, self.robustness_ndcg))
        ]
        calls = candidates(self.pool)
        return GateFile(
            least_shoppers=self.least_shoppers,
            least_queries=self.least_queries,
            threshold=[
                *loss,
                Threshold(measure=NDCG, difference_min=-self.ndcg_margin, by="interval", enough_for=0.0),
                Threshold(
                    measure=NDCG,
                    segment=FEEDS,
                    difference_min=-self.ndcg_margin,
                    by="interval",
                    enough_for=0.0,
                    optional=True,
                ),
                Threshold(measure=ECE, difference_max=self.calibration_margin, by="better_end"),
                *robust,
                Threshold(measure=EXPOSURE_BY_ITEM, difference_max=self.exposure_item),
                Threshold(measure=EXPOSURE_BY_BRAND, difference_max=self.exposure_brand, optional=True),
                Threshold(measure=LATENCY_P50, segment=calls, ratio_max=self.latency_median, by="better_end"),
                Threshold(measure=LATENCY_P99, segment=calls, ratio_max=self.latency_p99, by="better_end"),
                *self._own,
            ],
        )


def _check(file: Path, found: GateFile, measured: Sequence[tuple[str, str]]) -> None:
    """Raise where a shop's own file asks what the trainer's gate does not measure."""
    names = list(dict.fromkeys(measure for measure, _ in measured))
    for number, one in enumerate(found.threshold, 1):
        where = f"{file}: threshold {number}"
        if one.measure not in names:
            said = f"the trainer's gate does not measure {one.measure!r}; it measures {', '.join(names)}"
            raise GateFileError(f"{where}: {said}.")
        segments = [segment for measure, segment in measured if measure == one.measure]
        if not any(fnmatchcase(segment, one.segment) for segment in segments):
            there = "; ".join(segment or "all cases, an empty one" for segment in segments)
            raise GateFileError(f"{where}: {one.measure} has no segment {one.segment!r}; there are {there}.")
        if not fnmatchcase(CHALLENGER, one.contender):
            raise GateFileError(f"{where} asks {one.contender!r}; the trainer's contender is {CHALLENGER!r}.")
        if one.dimension != "*":
            raise GateFileError(f"{where} names a dimension; the trainer's figures have none.")
    if found.max_severity is not None or found.least_shoppers or found.least_queries:
        said = "takes only thresholds from it: there are no findings, and gate.least_shoppers and gate.least_queries"
        raise GateFileError(f"{file}: the trainer's gate {said} are settings.")
