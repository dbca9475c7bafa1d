"""Files to evaluation data: graded pairs, result lists with clicks, transactions, and a trainer's held-out slice.

Values are cleaned as ``liveshelf prepare`` cleans them, so that a raw file and a prepared one are evaluated alike.
Knows polars, files and columns; nothing of contenders. Reads CSV, JSON lines and Parquet, plain, ``.gz`` or ``.xz``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import polars.selectors as cs

from evaluator.gate import held_out
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.segments import with_segments
from evaluator.offline.spec import Spec
from evaluator.preparation.cleaning import cleaned
from evaluator.preparation.purchases import purchases
from evaluator.preparation.schema import Kind
from evaluator.preparation.tables import DataError, match_columns, read_table

if TYPE_CHECKING:
    from evaluator.gate.dataset import RankedList

PAST = 200
"""How many past purchases of a shopper are kept."""

LEAST_PAST = 5
"""Purchases that a shopper needs before an invoice is a case of a feed."""

TEST_SHARE = 0.2
"""The newest share of the time of transactions that is ranked, where no split is given."""


def load(spec: Spec) -> EvaluationData:
    """The data of an evaluation.

    Raises
    ------
    DataError
        When a file is missing, is no table, or lacks a column.
    """
    makers = {"graded": _graded, "clicks": _clicks, "feed": _feed, "held_out": _held_out}
    if spec.task not in makers:
        raise DataError(f"There is no task {spec.task!r}; there are {', '.join(makers)}.")
    if spec.train and spec.task not in ("graded", "clicks"):
        raise DataError(
            f"--train is for graded data and clicks; data of the task {spec.task} is split by itself. Leave it out."
        )
    if spec.items and spec.task == "feed":
        raise DataError("--items is for searches; a feed takes its texts from the data itself. Leave it out.")
    return replace(with_segments(makers[spec.task](spec)), hide_texts=spec.hide_texts)


def _graded(spec: Spec) -> EvaluationData:
    items = _texts(spec)
    wanted = ("query", "item", "gain") if spec.items else ("query", "item", "text", "gain")
    span: list[float] = []

    def cases(path: str, unjudged: bool) -> list[Case]:
        table = read_table(Path(path))
        names = match_columns(table.columns, spec.columns, wanted, path)
        lists: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for row in _rows(table, names, "pairs"):
            gain = row["gain"]
            if not row["query"] or not row["item"] or (np.isnan(gain) and not unjudged):
                continue
            if "text" in row and row["item"] not in items:
                items[row["item"]] = _document(row)
            known = lists[row["query"]].get(row["item"], float("nan"))
            lists[row["query"]][row["item"]] = known if np.isnan(gain) else gain
        if not any(gain == gain for gains in lists.values() for gain in gains.values()):  # noqa: PLR0124
            raise DataError(
                f"{path} has no row with a query, an item and a number as gain. Gains are read from the column "
                f"{names['gain']!r}; name another with --column gain=NAME."
            )
        span.extend(gain for gains in lists.values() for gain in gains.values() if not np.isnan(gain))
        return [
            Case(f"q{number}", tuple(gains), np.array(list(gains.values())), query)
            for number, (query, gains) in enumerate(lists.items())
        ]

    train = cases(spec.train, unjudged=False) if spec.train else []
    chosen = _limited(cases(spec.data, unjudged=True), spec)
    return EvaluationData(Path(spec.data).name, "graded", chosen, train, items, (min(span), max(span)))


def _clicks(spec: Spec) -> EvaluationData:
    texts = _texts(spec)
    cases = _lists(spec.data, "c", spec, texts)
    if all(len(case.items) == 1 for case in cases) and any(case.propensities is not None for case in cases):
        every_item = tuple({item: None for case in cases for item in case.items})
        cases = [_with_others(case, every_item) for case in cases]
    order = [cases[place] for place in np.random.default_rng(spec.seed).permutation(len(cases))]
    if spec.train:
        chosen, train = _limited(order, spec), _lists(spec.train, "t", spec, texts)
    else:
        cut = round(len(order) * (1 - TEST_SHARE))
        chosen = _limited(order[cut:], spec)
        train = order[:cut][: 20 * max(1, len(chosen))]
    return EvaluationData(Path(spec.data).name, "clicks", chosen, train, texts)


def _lists(path: str, stem: str, spec: Spec, texts: dict[str, Document]) -> list[Case]:
    """The lists of a file. A log with propensities needs neither queries, ranks nor texts, and each of its rows is a
    decision of its own where it names no list."""
    table = read_table(Path(path))
    names = match_columns(table.columns, spec.columns, ("item", "gain"), path)
    if not (logged := "propensity" in names):
        names = match_columns(table.columns, spec.columns, ("query", "item", "gain", "list", "rank"), path)
    lists: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, row in enumerate(_rows(table, names, "behaviour")):
        row["text"] = row.get("text") or (row["item"] if logged else "")
        if row["item"] in texts or row["text"]:
            lists[row.get("list", str(number))].append(row)
    if not lists:
        raise DataError(f"No item of {path} has a text: give the items with --items.")
    return [_list(f"{stem}{number}", name, rows, texts) for number, (name, rows) in enumerate(lists.items())]


def _list(name: str, shown_to: str, rows: list[dict[str, Any]], texts: dict[str, Document]) -> Case:
    """A list that was shown, in its order. An item that it shows twice counts once, where it stands first."""
    firsts: dict[str, dict[str, Any]] = {}
    clicked: dict[str, float] = {}
    for place in np.argsort([row.get("rank", 0.0) for row in rows], kind="stable"):
        row = rows[place]
        item = row["item"]
        if item not in texts:
            texts[item] = _document(row)
        firsts.setdefault(item, row)
        clicked[item] = max(clicked.get(item, 0.0), row["gain"])  # without a gain it is not clicked
    gains = np.array(list(clicked.values()))
    logged = np.array([row.get("propensity", np.nan) for row in firsts.values()])
    logged = np.where((logged > 0) & (logged <= 1), logged, np.nan)
    given = None if np.isnan(logged).all() else logged
    first = rows[0]
    shopper = first.get("shopper") or shown_to
    return Case(name, tuple(firsts), gains, first.get("query", ""), shopper=shopper, propensities=given)


def _with_others(case: Case, every: tuple[str, ...]) -> Case:
    """A decision on one item, as a choice among all that the log shows; nobody saw the others there."""
    others = tuple(item for item in every if item != case.items[0])
    gains, propensities = np.full(len(every), np.nan), np.full(len(every), np.nan)
    gains[0] = case.gains[0]
    propensities[0] = np.nan if case.propensities is None else case.propensities[0]
    return Case(case.id, case.items + others, gains, case.query, shopper=case.shopper, propensities=propensities)


def _feed(spec: Spec) -> EvaluationData:
    table = read_table(Path(spec.data))
    names = match_columns(table.columns, spec.columns, ("item", "text", "list", "shopper", "time"), spec.data)
    lines = [line | {"ts": int(line["time"].timestamp() * 1_000)} for line in purchases(table, names).to_dicts()]
    if not lines:
        raise DataError(f"{spec.data} has no usable line: each needs an item, a text, an order, a shopper and a time.")
    items: dict[str, Document] = {}
    orders: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        known = items.get(line["item"])
        first = line["ts"] if known is None or known.first_seen is None else known.first_seen
        price, seller = line.get("price", float("nan")), line.get("seller") or ""
        items[line["item"]] = Document(line["text"], line.get("brand") or "", "", price, first, seller)
        orders[line["shopper"], line["list"]].append(line)
    cases, past = [], defaultdict[str, list[str]](list)
    for (shopper, order), some in sorted(orders.items(), key=lambda one: (one[1][0]["ts"], one[0])):
        bought = list(dict.fromkeys(line["item"] for line in some))
        cases.append((shopper, order, some[0]["ts"], bought, tuple(reversed(past[shopper][-PAST:]))))
        past[shopper] += bought
    first, last = lines[0]["ts"], lines[-1]["ts"]
    cut = last - int((last - first) * TEST_SHARE)
    early = [case for case in cases if case[2] <= cut]
    universe = tuple(item for item, one in items.items() if one.first_seen is not None and one.first_seen <= cut)
    places = {item: place for place, item in enumerate(universe)}
    train = [
        Case(f"t{number}", tuple(bought), np.ones(len(bought)), history=history, shopper=shopper, ts=ts)
        for number, (shopper, _, ts, bought, history) in enumerate(early)
    ]
    held = [case for case in cases if case[2] > cut and len(case[4]) >= LEAST_PAST]
    chosen: list[Case] = []
    for shopper, _, ts, bought, history in held:
        gains = np.zeros(len(universe))
        hits = [places[item] for item in bought if item in places]
        gains[hits] = 1.0
        if hits:
            name = f"c{len(chosen)}"
            chosen.append(Case(name, universe, gains, history=history, shopper=shopper, ts=ts))
    if not chosen:
        raise DataError(f"{spec.data}: no shopper with {LEAST_PAST} purchases buys in the newest fifth of its time.")
    return EvaluationData(Path(spec.data).name, "feed", _limited(chosen, spec), train, items)


def _held_out(spec: Spec) -> EvaluationData:
    """The lists of a trainer's gate. Items are named by their texts, since models read nothing else."""
    from evaluator.gate.dataset import ranked_lists  # it loads torch, which other data does not need

    try:
        held = held_out.read(Path(spec.data))
    except ValueError as error:
        raise DataError(str(error)) from error
    lists = ranked_lists(held.examples, held.settings.most_contexts)
    cases = _limited([_ranked(f"c{number}", one) for number, one in enumerate(lists)], spec)
    texts = dict.fromkeys(text for case in cases for text in (*case.items, *case.history))
    items = {text: Document(text, brand=held.brands.get(text, "")) for text in texts}
    return EvaluationData(Path(spec.data).name, "clicks", cases, [], items, intent_weights=held.intent_weights)


def _ranked(name: str, one: "RankedList") -> Case:
    """A list of the gate as a case; its last impression comes first."""
    from evaluator.gate.figures.quality import levels

    request, last = one.request, slice(None, None, -1)
    return Case(
        name,
        request.items[last],
        levels(one)[last],
        request.query,
        request.history,
        one.shopper,
        asked=request.asked,
        weights=request.weights,
        popularity=dict(zip(request.items, request.popularity, strict=False)),
        targets=one.targets[last],
        masses=one.weights[last],
    )


def _texts(spec: Spec) -> dict[str, Document]:
    if not spec.items:
        return {}
    table = read_table(Path(spec.items))
    names = match_columns(table.columns, spec.columns, ("item", "text"), spec.items)
    return {row["item"]: _document(row) for row in _rows(table, names, "items") if row["text"]}


def _rows(table: pl.DataFrame, names: Mapping[str, str], kind: Kind) -> Iterable[dict[str, Any]]:
    """Rows by field, cleaned: texts and ids, empty where there is none, and numbers, NaN where there is none."""
    rows = cleaned(table, names, kind)
    return rows.with_columns(cs.string().fill_null(""), cs.float().fill_null(np.nan)).iter_rows(named=True)


def _document(row: Mapping[str, Any]) -> Document:
    price, seller = row.get("price", np.nan), row.get("seller", "")
    return Document(row.get("text", ""), row.get("brand", ""), price=price, seller=seller)


def _limited(cases: Sequence[Case], spec: Spec) -> list[Case]:
    if not spec.limit or len(cases) <= spec.limit:
        return list(cases)
    chosen = np.random.default_rng(spec.seed).permutation(len(cases))[: spec.limit]
    return [cases[place] for place in sorted(chosen.tolist())]
