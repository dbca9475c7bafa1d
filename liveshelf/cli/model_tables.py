"""Model versions as text: lists, pages and comparisons. Values in, rich renderables or JSON out."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from evaluator.offline.agreement import LEAST, Agreement, Claim, Correlation, Share
from liveshelf.terminal import NONE, plain
from models.store.difference import Change, Difference
from models.store.experiments import Ended, FinishedExperiment
from models.store.manifest import Manifest

TELLING = ("log_loss", "ndcg_10", "ndcg_20_all", "spearman")
"""Metrics by how much they say of a version."""

TIME = len("20261130-221150")
"""Of an id its time, by which it is found as well."""

ENDED: dict[Ended, str] = {
    "promoted": "promoted",
    "rolled_back": "rolled back",
    "given_up": "given up",
    "stopped": "stopped by hand",
}
CLAIMS: dict[Claim, str] = {
    "too_few": "is from too few to say",
    "predicts": "predicts",
    "not_shown": "is not shown to predict",
    "opposite": "predicts the opposite",
}
Slots = Mapping[str, Mapping[str, float]]
"""By version: its slots, and its share of the shoppers in each."""


def listing(manifests: Sequence[Manifest], slots: Slots, metrics: Sequence[str] | None) -> Table:
    """One row for each version, in the order given; without chosen metrics, the best known one of the first version.
    Ids are whole on any terminal, since other commands need them; they name the method, and parents by their time."""
    chosen = list(metrics or _telling(manifests))
    parents = any(one.parent for one in manifests)
    table = Table(title="Versions")
    table.add_column("id", no_wrap=True, min_width=max((len(one.id) for one in manifests), default=2))
    for name in ("slot", *(["parent"] if parents else [])):
        table.add_column(name)
    for name in ("examples", *chosen, "size", "age"):
        table.add_column(name, justify="right")
    for one in manifests:
        figures = [number(one.metrics.get(name)) for name in chosen]
        age = ago(time.time() - one.created_at.timestamp())
        parent = [(one.parent or "")[:TIME]] if parents else []
        names = [one.id, places(slots.get(one.id, {})), *parent]
        _row(table, *names, f"{one.data.examples:,}", *figures, size(one.bytes), age)
    return table


def _telling(manifests: Sequence[Manifest]) -> list[str]:
    """The metric that says most of the first version."""
    there = manifests[0].metrics if manifests else {}
    return [*(name for name in TELLING if name in there), *sorted(there)][:1]


def page(one: Manifest, slots: Slots) -> list[Table]:
    """All that is known about a version."""
    about = Table("what", "value", title=one.id)
    data = one.data
    window = f"{data.window_from or '…'} to {data.window_to or '…'}" if data.window_from or data.window_to else ""
    for name, value in (
        ("slots", places(slots.get(one.id, {}))),
        ("created", f"{one.created_at:%Y-%m-%d %H:%M:%S %Z}, {ago(time.time() - one.created_at.timestamp())} ago"),
        ("method", one.method),
        ("architecture", one.architecture),
        ("parts", ", ".join(dict.fromkeys(path.partition("/")[0] for path in one.files if "/" in path))),
        ("parent", one.parent or ""),
        ("encoder", f"{one.encoder} @{one.encoder_fingerprint}"),
        ("data", f"{data.examples:,} examples of {data.source}"),
        ("data window", window),
        ("data hash", data.hash),
        ("calibration", msgspec.json.encode(one.calibration).decode() if one.calibration else ""),
        ("libraries", ", ".join(f"{name} {version}" for name, version in one.libraries.items())),
        ("notes", one.notes),
    ):
        if value:
            _row(about, name, value)
    metrics = Table("metric", "value", title="Metrics")
    for name, figure in sorted(one.metrics.items()):
        _row(metrics, name, number(figure))
    files = Table("file", "size", "sha256", title=f"Files, {size(one.bytes)}")
    for path, file in one.files.items():
        _row(files, path, size(file.bytes), file.sha256[:16])
    return [about, *([metrics] if one.metrics else []), files]


def comparison(found: Difference) -> list[Table]:
    """What differs between two versions."""
    about = Table("what", found.a, found.b, title="Versions")
    _row(about, "encoder", found.encoder, "")
    for group in (found.fields, {f"data {name}": change for name, change in found.data.items()}, found.libraries):
        for name, change in group.items():
            _row(about, name, _text(change.before), _text(change.after))
    _row(about, "bytes", size(found.bytes.before), size(found.bytes.after))
    metrics = Table("metric", "before", "after", "difference", title="Metrics")
    for name, change in found.metrics.items():
        _row(metrics, name, number(change.before), number(change.after), _gain(change))
    files = Table("file", "before", "after", title="Files")
    for name, change in found.files.items():
        before, after = ("" if value is None else size(value) for value in (change.before, change.after))
        _row(files, name, before, after)
    return [about, *([metrics] if found.metrics else []), *([files] if found.files else [])]


SHARES = "same sign: share of pairs whose challenger was better both offline and online, or worse in both"
SELECTION = "only versions that passed the gate have a canary, so correlations are lower than among all versions"


def experiments(found: Sequence[FinishedExperiment], agreed: Sequence[Agreement]) -> list[Table]:
    """The experiments that have ended, the newest first, and how well each offline measure predicted them."""
    table = Table("ended", "challenger", "champion", "how", title="Canaries and interleavings")
    for name in ("click difference", "evidence", "impressions"):
        table.add_column(name, justify="right")
    for one in reversed(found):
        online = one.online
        told = [f"{one.ended_at:%Y-%m-%d %H:%M}", one.challenger, one.champion or "untrained", ENDED[one.ended]]
        if online is None:
            _row(table, *told, NONE, NONE, NONE)
            continue
        shown = f"{online.challenger.impressions:,} / {online.champion.impressions:,}"
        difference = f"{online.difference:+.2%} ({online.low:+.2%} to {online.high:+.2%})"
        _row(table, *told, difference, f"10^{online.log10_evalue:.1f} to 1", shown)
    if not agreed:
        return [table]
    measures = Table("measure", "of", title="Does offline predict online?", caption=f"{SHARES}; {SELECTION}")
    for name in ("pairs", "same sign", "decided", "rank correlation", "without noise"):
        measures.add_column(name, justify="right")
    measures.add_column("so it")
    for of in agreed:
        claim = f"{CLAIMS[of.claim]}: {LEAST} are needed" if of.claim == "too_few" else CLAIMS[of.claim]
        name = f"{of.measure}, {of.segment}" if of.segment else of.measure
        figures = (of.signs, of.decided, of.correlation, of.corrected)
        _row(measures, name, f"{of.source}, {of.kind}", str(of.count), *map(_spread, figures), claim)
    return [table, measures]


def _spread(one: Share | Correlation | None) -> str:
    return NONE if one is None else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def record(one: Manifest, slots: Slots) -> dict[str, Any]:
    """A manifest, the version's slots and its shares in them, as plain values."""
    shares = slots.get(one.id, {})
    return {**msgspec.to_builtins(one), "slots": list(shares), "shares": dict(shares)}


def places(shares: Mapping[str, float]) -> str:
    """The slots of a version, as text.

    Examples
    --------
    >>> places({"champion": 1.0}), places({"challenger": 0.1}), places({"challenger": 0.0})
    ('champion', 'challenger 10 %', 'challenger (shadow)')
    """
    return ", ".join(
        name + ("" if share == 1 else f" {100 * share:.3g} %" if share else " (shadow)")
        for name, share in shares.items()
    )


def as_json(value: Any) -> str:
    """Indented JSON.

    Examples
    --------
    >>> as_json([1])
    '[\\n  1\\n]'
    """
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def number(value: float | None) -> str:
    """A figure with four digits; empty if there is none.

    Examples
    --------
    >>> number(0.90712), number(12345.6), number(None)
    ('0.9071', '1.235e+04', '')
    """
    return "" if value is None else f"{value:.4g}"


def size(count: float) -> str:
    """A number of bytes, with its unit.

    Examples
    --------
    >>> size(812), size(90_868_376)
    ('812 B', '90.9 MB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1_000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} GB"


def ago(seconds: float) -> str:
    """A duration, in its largest unit.

    Examples
    --------
    >>> ago(59), ago(7_300), ago(400_000)
    ('59 s', '2 h', '5 d')
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _row(table: Table, *cells: str) -> None:
    """Add cells as plain text: notes may have several lines, and are not markup."""
    table.add_row(*(Text("\n").join(map(plain, cell.splitlines())) for cell in cells))


def _text(value: Any) -> str:
    return NONE if value is None else str(value)


def _gain(change: Change) -> str:
    return "" if change.before is None or change.after is None else f"{change.after - change.before:+.4g}"
