"""An offline evaluation from the terminal: progress, a table, and where the report lies.

Knows the terminal and files; what is measured is the business of ``evaluator.offline``.
"""

import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from evaluator.gate.thresholds import GateFile, passed
from evaluator.offline import gate_file, history, prediction
from evaluator.offline import run as runs
from evaluator.offline.agreement import agreements
from evaluator.offline.data import EvaluationData
from evaluator.offline.report.provenance import provenance
from evaluator.offline.report.render import write_comparison, write_report
from evaluator.offline.spec import Spec
from evaluator.offline.summary import Row, Summary, summarise
from evaluator.preparation.tables import DataError
from liveshelf.terminal import NONE, console, plain
from models.store import ModelStore, StoreError
from models.store.atomic import write_whole

SHOWN = ("ndcg@10", "ndcg@20", "mrr", "recall@20")
"""Measures of the terminal's table; the report has all."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that takes no more."""

VERSIONS = "versions.json"
"""The ids of versions, by contender, in a run's folder."""


def carry_out(spec: Spec, out: Path, resume: bool, store: str | None = None) -> Summary:
    """Evaluate with a progress bar, write the summary and the report, and print what matters.

    A disk that is full ends it with a sentence; what is written stays for ``resume``.

    Parameters
    ----------
    store
        A model store whose past experiments the report shows, beside those of the contenders' stores.

    Raises
    ------
    DataError, evaluator.offline.contenders.contender.ContenderError
        When something that was asked for cannot be done.
    """
    if (out / runs.SPEC).is_file() and not resume:
        raise DataError(f"{out} holds an evaluation. Go on with it by --resume, or name another folder with --out.")
    data = runs.prepare(spec, out)
    try:
        return _carried_out(spec, out, data, store)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DataError(
            f"{out} cannot be written to: {error.strerror}. Make room, then go on with --resume."
        ) from error


def _carried_out(spec: Spec, out: Path, data: EvaluationData, store: str | None) -> Summary:
    ids = _versions(spec, out)
    console.print(
        f"{len(data.cases):,} cases, {len(data.train):,} to learn from, {len(data.items):,} items", highlight=False
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn())
    with Progress(*columns, transient=True, console=console) as progress:
        tasks = {name: progress.add_task(str(plain(name)), total=1.0, stage="waits") for name in spec.contenders}

        def say(name: str, stage: str, share: float) -> None:
            progress.update(tasks[name], completed=share, stage=stage)

        results = runs.run(spec, out, say)
    summary = summarise(results, spec.task)
    summary.counts = data.counts
    if spec.task == "held_out":
        from evaluator.offline.held_out import as_the_gate  # it loads torch, which other data may not need

        with console.status("Measuring as the trainer's gate"):
            as_the_gate(summary, spec, data)
    write_whole(out / "summary.json", msgspec.json.format(msgspec.json.encode(summary)))
    predicted = _prediction(spec, out, summary, ids, store)
    pages = write_report(spec, out, data, results, summary, predicted)
    _print(summary, spec)
    console.print(plain(f"Report: {' and '.join(map(str, pages))}"))
    return summary


def _versions(spec: Spec, out: Path) -> dict[str, str]:
    """The ids of the contenders that are versions of a store, as they were when the run began: slots change."""
    file = out / VERSIONS
    if file.is_file():
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    found = {}
    for name, (url, version) in prediction.versions(spec.contenders).items():
        with suppress(StoreError, OSError):  # the contender says so itself
            found[name] = ModelStore(url).find(version)
    write_whole(file, msgspec.json.encode(found))
    return found


def _prediction(
    spec: Spec, out: Path, summary: Summary, ids: Mapping[str, str], store: str | None
) -> prediction.Prediction | None:
    """Keep the run's figures in the stores of its versions, and read what their past experiments show.

    A store that cannot be written is said, and read all the same.
    """
    urls = {name: url for name, (url, _) in prediction.versions(spec.contenders).items()}
    stores = list(dict.fromkeys([*([store] if store else []), *urls.values()]))
    if not stores:
        return None
    made = provenance(spec, out)
    found, problems = [], []
    for url in stores:
        own = {name: version for name, version in ids.items() if urls[name] == url}
        at = datetime.fromisoformat(made.made_at)
        kept = prediction.evaluation(summary, own, Path(spec.data).name, made.fingerprint, at)
        try:
            opened = ModelStore(url)
            try:
                if kept is not None:
                    opened.experiments.keep(kept)
            except (StoreError, OSError) as error:
                problems.append(f"The figures of this run are not kept in {url}: {error}.")
            experiments, unread = opened.experiments.get()
        except (StoreError, OSError) as error:
            problems.append(f"The store {url} cannot be read: {error}.")
        else:
            found += experiments
            problems += unread
    for one in problems:
        console.print(plain(one), style="yellow")
    return prediction.Prediction(found, agreements(found), problems)


def keeps(gate: GateFile, summary: Summary, spec: Spec, junit: Path | None) -> bool:
    """Whether a run keeps the thresholds of a gate file; prints each, and writes them as JUnit XML where asked."""
    checks = gate_file.check(gate, summary, spec.contenders)
    table = Table("contender", "asked", "", "figures", title="Gate")
    for one in checks:
        style = "" if one.outcome == "passed" else "red"
        table.add_row(plain(one.contender), plain(one.asked), one.outcome, plain(one.said), style=style)
    console.print(table)
    if junit is not None:
        write_whole(junit, gate_file.junit(checks))
    kept, failed = passed(checks), sum(one.outcome != "passed" for one in checks)
    said = "The gate is passed" if kept else f"The gate is not passed: {failed} of {len(checks)} checks fail"
    console.print(f"{said}.", style="bold" if kept else "bold red", highlight=False)
    return kept


def compare(folders: Sequence[Path], out: Path) -> None:
    """Compare finished runs over time: print every contender's headline measure, write the page.

    Raises
    ------
    DataError
        When a folder holds no finished run.
    """
    found = history.history(history.read(folders))
    table = Table("contender", "measure", title="Runs over time")
    for name in (*(one.name for one in found.runs), "last change"):
        table.add_column(plain(name))
    for series in found.headlines:
        change = NONE if series.change is None else f"{series.change:+.4f}{' *' if series.sure else ''}"
        table.add_row(plain(series.contender), series.measure, *map(_cell_of_past, series.rows), change)
    table.caption = "* p < 0.05 after Holm's correction" if found.same else "not all runs are of the same cases"
    console.print(table)
    pages = write_comparison(found, out)
    console.print(plain(f"Comparison: {' and '.join(map(str, pages))}"))


def _cell_of_past(row: Row | None) -> str:
    return NONE if row is None or row.value is None else f"{row.value:.4f}"


def _print(summary: Summary, spec: Spec) -> None:
    rows = {(row.contender, row.measure): row for row in summary.rows if not row.segment}
    shown = [name for name in SHOWN if any(measure == name for _, measure in rows)]
    caption = f"* differs from {summary.reference}, p < 0.05 after Holm's correction"
    table = Table("contender", *shown, title="Means and their 95 % intervals", caption=caption)
    for name in spec.contenders:
        if name in summary.failures and not any((name, measure) in rows for measure in shown):
            table.add_row(plain(name), plain(f"failed: {summary.failures[name][0]}"))
        else:
            table.add_row(plain(name), *(_cell(rows.get((name, measure))) for measure in shown))
    console.print(table)
    worst = {one.contender: one for one in reversed(summary.findings)}
    for one in sorted(worst.values(), key=lambda named: -named.finding.severity):
        console.print(plain(f"{one.contender}: {one.finding.sentence}"), style="yellow")
    console.print(plain(summary.verdict), style="bold")


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return NONE
    ends = "" if row.low is None or row.high is None else f" ({row.low:.4f} to {row.high:.4f})"
    return f"{row.value:.4f}{ends}{' *' if row.sure else ''}"
