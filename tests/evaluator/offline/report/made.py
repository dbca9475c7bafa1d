"""A run of seven contenders without models: figures drawn with a fixed seed, findings, failures, details."""

from pathlib import Path

import numpy as np

from evaluator.message import Message
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Finding, Part, Reading, mean_reading
from evaluator.offline.measures import measure
from evaluator.offline.resampling import Resampling
from evaluator.offline.run import Failure, Result, slug
from evaluator.offline.spec import Spec

NAMES = (
    "bm25",
    "random",
    "popularity",
    "cosine:intfloat/multilingual-e5-small",
    "cross_encoder:models/shop/base",
    "late_interaction:models/shop/late",
    "version:store#champion",
)
FAILED = NAMES[2]
SKILL = {"bm25": 0.7, "random": 0.0, NAMES[3]: 0.9, NAMES[4]: 2.0, NAMES[5]: 1.9, NAMES[6]: 1.4}
MILLISECONDS = {"bm25": 0.05, "random": 0.004, NAMES[3]: 4.0, NAMES[4]: 41.0, NAMES[5]: 3.1, NAMES[6]: 3.3}
HOSTILE = "<script>alert('x')</script>\u202e & \"quoted\" {{ 7 * 7 }}"
SHOPPER = "shopper-7781"
"""In ids of shoppers; no report may have it."""

WORDS = ("oak", "steel", "cordless", "drill", "outdoor", "lamp", "white", "faucet", "screws", "8 ft.", "LED", "paint")


def data(task: str = "graded", cases: int = 120, seed: int = 1) -> EvaluationData:
    """Queries of four cases each, with ten judged items each."""
    chance = np.random.default_rng(seed)
    items = {f"i{n}": Document(" ".join(chance.choice(WORDS, 7)).capitalize()) for n in range(300)}
    items["i0"] = Document(HOSTILE)
    made = []
    for number in range(cases):
        four = number // 4
        query = HOSTILE if four == 0 else f"{WORDS[four % 12]} {WORDS[four * 5 % 12]} {four}"
        chosen = chance.choice(300, 10, replace=False)
        chosen[0] = 0 if number < 30 else chosen[0]
        ids = tuple(dict.fromkeys(f"i{n}" for n in chosen))
        gains = chance.integers(0, 2, len(ids)) if task != "graded" else np.round(chance.uniform(1, 3, len(ids)), 2)
        shopper = "" if task == "graded" else f"{SHOPPER}-{number}"
        segments = {"query": "head" if number % 3 == 0 else "tail", "words": "some are new" if number % 2 else "other"}
        made.append(
            Case(f"{SHOPPER}/{number}", ids, gains.astype(np.float64), query, shopper=shopper, segments=segments)
        )
    return EvaluationData("dev.jsonl", task, made, [], items, (1.0, 3.0) if task == "graded" else (0.0, 1.0))  # type: ignore[arg-type]


def run(
    folder: Path, task: str = "graded", seed: int = 0, better: float = 0.0
) -> tuple[Spec, EvaluationData, list[Result]]:
    """The results of a run, its files written as a run writes those that a report reads."""
    ranked, chance = data(task), np.random.default_rng(seed)
    file = folder / "dev.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text("{}\n")
    spec = Spec(data=str(file), task=ranked.task, contenders=list(NAMES), draws=200)
    resampling = Resampling.of([case.group for case in ranked.cases], spec.draws)
    results = []
    for name in NAMES:
        if name == FAILED:
            error = Message("gave a score that is no finite number for case {case}", {"case": "12"})
            results.append(Result(contender=name, failures=[Failure(stage="scoring", error=error)]))
            continue
        skill = SKILL[name] + better
        scores = [skill * np.asarray(case.gains) + chance.normal(0, 0.8, len(case.items)) for case in ranked.cases]
        place = folder / "contenders" / slug(name)
        place.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(place / "scores.npz", scores=np.concatenate(scores).astype(np.float32))
        parts = {
            "effect": effect(ranked, scores, resampling),
            "robustness": robustness(name, resampling, chance),
            "cost": Part(readings=[_plain("latency_ms", MILLISECONDS[name], "ms"), _plain("memory", 640.0, "MB")]),
        }
        result = Result(contender=name, parts=parts, seconds={"fit": 2.5, "score": 0.12}, peak_mb=640.0)
        if name == NAMES[4]:
            result.failures.append(Failure(stage="fairness", error="Items have no brand: name its column."))
        results.append(result)
    return spec, ranked, results


def effect(ranked: EvaluationData, scores: list[np.ndarray], resampling: Resampling) -> Part:
    """The effect of scores, by the measures themselves."""
    judged = [measure.judged(case, own, ranked.span[0]) for case, own in zip(ranked.cases, scores, strict=True)]
    readings = []
    for one in measure.every():
        names = {"measure": one.name, "dimension": "effect", "better": one.better, "says": one.says}
        values = np.array([one.of(case) for case in judged])
        readings.append(mean_reading(values, resampling, **names))
        if one.name == "ndcg@10":
            for by in ranked.cases[0].segments:
                for group in sorted({case.segments[by] for case in ranked.cases}):
                    inside = np.array([case.segments[by] == group for case in ranked.cases])
                    part = np.where(inside, values, np.nan)
                    readings.append(mean_reading(part, resampling, keep_cases=False, segment=f"{by}: {group}", **names))
    return Part(readings=readings)


def robustness(name: str, resampling: Resampling, chance: np.random.Generator) -> Part:
    """A dimension that the report knows nothing of but its parts."""
    lost = chance.normal(0.02 if name == "bm25" else 0.06, 0.05, resampling.weights.shape[1])
    reading = mean_reading(
        lost,
        resampling,
        measure="ndcg_loss",
        dimension="robustness",
        better="lower",
        says="Loss of nDCG under typing errors.",
        note="120 cases, drawn by the seed",
    )
    findings = []
    if name == "random":
        said = "It ranks the same whatever is asked: nDCG falls by 0.000 when queries are exchanged."
        findings.append(Finding(dimension="robustness", name="ignores_query", severity=0.9, sentence=said))
    if name == NAMES[4]:
        for kind, severity, said in (
            ("stuffing", 0.75, "A stuffed title gains 4.2 places (3.1 to 5.3) on average."),
            ("instructions", 0.45, f"It is fooled by {HOSTILE} in a title."),
            ("slow", 0.1, "It is slower on queries of more than eight words."),
        ):
            findings.append(Finding(dimension="robustness", name=kind, severity=severity, sentence=said))
    details = {
        "worst_words": [{"word": "drill", "loss": 0.21, "cases": 14}, {"word": HOSTILE, "loss": 0.1, "cases": 2}],
        "deletion_curve": [0.9, 0.7, 0.55, 0.5, 0.48],
        "settings": {"strengths": [0.1, 0.2], "seeded": True, "inner": {"typos": {"swap": 0.5, "drop": None}}},
        "sentences": ["one", "two"],
        "mixed": [[1, 2], {"a": "b"}],
    }
    return Part(readings=[reading], findings=findings, details=details)


def _plain(name: str, value: float, unit: str) -> Reading:
    return Reading(measure=name, dimension="cost", value=value, unit=unit, better="lower", says="Measured once.")
