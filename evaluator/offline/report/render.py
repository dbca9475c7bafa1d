"""Writes a run's report: the pages in both languages and the table of every case.

Knows files and templates; what is shown is decided by `page`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluator.offline.agreement import LEAST as LEAST_EXPERIMENTS
from evaluator.offline.data import EvaluationData
from evaluator.offline.history import History, Series
from evaluator.offline.prediction import Prediction
from evaluator.offline.report import charts, messages, page
from evaluator.offline.report.disagreements import Disagreements, disagreements
from evaluator.offline.report.messages import Speaker
from evaluator.offline.report.per_query import per_query
from evaluator.offline.report.provenance import provenance
from evaluator.offline.run import Result, scores_of
from evaluator.offline.safety.privacy import LEAST_ASKERS
from evaluator.offline.spec import Spec
from evaluator.offline.summary import EFFECT, Summary
from evaluator.translations import LANGUAGES, TAGS, Language
from models.store.atomic import replacing, write_whole

FILES: dict[Language, str] = {"en": "{}.html", "zh": "{}.zh.html"}

CONTROLS = [code for code in range(0x20) if chr(code) not in "\t\n\r"]
DIRECTIONS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
UNPRINTABLE = dict.fromkeys([*CONTROLS, 0x7F, *DIRECTIONS], "\ufffd")
"""Control characters, and those that turn the direction of the text that follows."""

FIELDS_OF_WORDS = ("category", "group", "intent", "kind", "method", "says")
"""Fields of details whose texts are words of the code; those of all others are data, and stay as they are."""

MOST_ROWS = 40
"""Rows of a table of details, and numbers of a list of them."""


def write_report(
    spec: Spec,
    folder: Path,
    data: EvaluationData,
    results: Sequence[Result],
    summary: Summary,
    prediction: Prediction | None = None,
) -> list[Path]:
    """Write ``report.html``, ``report.zh.html``, ``per_query.parquet`` and ``provenance.json`` into a run's folder;
    returns the pages. ``prediction`` is what past experiments show, where a store is known."""
    made = provenance(spec, folder)
    counts = (len(data.cases), len(data.train), len(data.items))
    shown = page.page(spec, counts, results, summary, made, _disagreements(folder, data, results, summary))
    with replacing(folder / "per_query.parquet") as file:
        per_query(data, results).write_parquet(file)
    return write_pages("report", folder, {"page": shown, "prediction": prediction})


def write_comparison(found: History, folder: Path) -> list[Path]:
    """Write ``compare.html`` and ``compare.zh.html``; returns the pages."""
    return write_pages("compare", folder, {"history": found})


def write_pages(name: str, folder: Path, context: Mapping[str, Any]) -> list[Path]:
    """A template's page in each language."""
    found = []
    for language in LANGUAGES:
        path = folder / FILES[language].format(name)
        write_whole(path, render(name, language, context).encode())
        found.append(path)
    return found


def render(name: str, language: Language, context: Mapping[str, Any]) -> str:
    """A page as text."""
    other: Language = "zh" if language == "en" else "en"
    links = {"other_file": FILES[other].format(name), "other_tag": TAGS[other]}
    return _environment().get_template(f"{name}.html").render(say=Speaker(language), **links, **context)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("evaluator.offline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    found.globals |= {
        "charts": charts,
        "duration": messages.duration,
        "memory": messages.memory,
        "shown": messages.shown,
        "severity": page.severity,
        "grave": page.GRAVE,
        "summary_dimension": EFFECT,
        "times": messages.times,
        "kind_of": kind_of,
        "columns_of": columns_of,
        "fields_of_words": FIELDS_OF_WORDS,
        "line_of": _line,
        "least_shoppers": LEAST_ASKERS,
        "least_experiments": LEAST_EXPERIMENTS,
        "most_rows": MOST_ROWS,
    }
    found.filters |= {"short_of": lambda name, short: short.get(name, name), "breakable": breakable}
    return found


def _line(series: Series) -> charts.Line:
    """A measure's small line over the runs."""
    return charts.line([(None, None, None) if row is None else (row.value, row.low, row.high) for row in series.rows])


def breakable(name: str) -> Markup:
    """A name that may be broken where its parts end.

    Examples
    --------
    >>> breakable("kind:a/<b>")
    Markup('kind:<wbr>a/<wbr>&lt;b&gt;')
    >>> breakable("TwoWords")
    Markup('Two<wbr>Words')
    """
    return Markup("<wbr>").join(re.split(r"(?<=[:/#_])|(?<=[a-z0-9])(?=[A-Z])", name))


def _printable(value: object) -> object:
    """Text without control characters and without those that turn the direction of what follows."""
    return value.translate(UNPRINTABLE) if isinstance(value, str) else value


def _disagreements(
    folder: Path, data: EvaluationData, results: Sequence[Result], summary: Summary
) -> Disagreements | None:
    decided = summary.decision
    if data.task == "feed" or decided is None or decided.second is None:
        return None
    one, other = (scores_of(folder, name, data.cases) for name in (decided.best, decided.second))
    return None if one is None or other is None else disagreements(data, results, decided, (one, other))


def kind_of(value: object) -> str:
    """How a value of a dimension's details is shown: as a curve, a figure with its interval, a table of records, pairs,
    a list or a figure.

    Examples
    --------
    >>> [kind_of(one) for one in ([1, 2, 3, 4.5], [{"a": 1}, {"a": 2}], {"a": {"b": 1}}, ["x"], 1.0, [[1], 2])]
    ['curve', 'records', 'pairs', 'list', 'figure', 'nested']
    >>> kind_of([0.5, 0.4, 0.6]), kind_of([1, 2, 3])
    ('interval', 'list')
    """
    if isinstance(value, Mapping):
        return "pairs"
    if not isinstance(value, Sequence) or isinstance(value, str):
        return "figure"
    if len(value) >= 3 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        if len(value) > 3:
            return "curve"
        return "interval" if value[1] <= value[0] <= value[2] else "list"
    if value and all(isinstance(one, Mapping) for one in value):
        return "records"
    return "nested" if any(kind_of(one) != "figure" for one in value) else "list"


def columns_of(records: Sequence[Mapping[str, object]]) -> list[str]:
    """The names in records, each once, in their order."""
    return list(dict.fromkeys(name for one in records for name in one))
