"""A preparation from files to files: read, clean, drop, split, write, look at what was written.

Knows files and polars; what a rule matches and where a row belongs is decided elsewhere. Rows are in memory by the
batch, and of all of them a column or two of numbers at a time.
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluator.preparation import cleaning, distributions, duplicates, leakage, outliers, rules, splits, texts
from evaluator.preparation.card import Card, Change, Input, RuleCount, Split
from evaluator.preparation.page import page
from evaluator.preparation.plan import BATCH, Say, planned, readable
from evaluator.preparation.rules import FOREIGN
from evaluator.preparation.schema import SHAPES, SplitBy
from evaluator.preparation.spec import Spec
from evaluator.preparation.staging import Parts
from evaluator.preparation.tables import DataError

TEXTS_COMPARED = 50_000
"""Near duplicates are looked for among so many different descriptions, drawn by their hash."""

HASHES = ("_prepare_first", "_prepare_second")
KEY, LIST, PLACE, REASON = "_prepare_key", "_prepare_list", "_prepare_place", "_prepare_reason"
SPLIT_COLUMNS: dict[SplitBy, str] = {"time": "time", "query": "query", "user": "shopper"}
"""The column that differs between splits because they are made by it: its drift says nothing."""

INTERNAL = (*HASHES, KEY, LIST, PLACE, FOREIGN)
"""Columns that only the steps need."""


def run(spec: Spec, out: Path, say: Say = lambda *_: None) -> Card:
    """Prepare data: write the splits, what was dropped, and the card as JSON and as a page.

    Raises
    ------
    DataError
        When the files cannot be prepared, or the folder holds something already; nothing is written then.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} holds something already. Name another folder with --out.")
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.absolute().parent))
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}.") from error
    try:
        ready = work / "ready"
        ready.mkdir()
        card = Preparation(spec, work, ready, say).card()
        (ready / "card.json").write_bytes(msgspec.json.format(msgspec.json.encode(card)))
        (ready / "card.html").write_text(page(card), "utf-8")
        if out.is_dir():
            out.rmdir()
        ready.replace(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return card


class Preparation:
    """The steps of one preparation, in the order of its methods.

    Attributes
    ----------
    reason : array of uint8
        By row, the number of the rule that drops it, from 1; 0 where it is kept.
    split : array of uint8
        By row, the number of its split.
    found, notes : dict
        By rule, how many rows it matches, and what needs to be said.
    """

    def __init__(self, spec: Spec, work: Path, ready: Path, say: Say) -> None:
        self.spec, self.work, self.ready, self.say = spec, work, ready, say
        self.found = Counter[str]()
        self.notes = dict[str, str]()
        self.changes = Counter[str]()
        self.actions = {rule.name: spec.action(rule) for rule in rules.RULES}
        self.plan = planned(spec, work, say)
        self.names = splits.NAMES[len(spec.shares)] if self.plan.split != "none" else splits.NAMES[1]
        self.parts = Parts(work / "parts")
        self.reason = np.zeros(0, np.uint8)
        self.split = np.zeros(0, np.uint8)

    def card(self) -> Card:
        """Carry out all steps."""
        self._clean()
        self._drop_repeats()
        self._drop_near_duplicates()
        self._split()
        self._drop_outliers()
        files = self._write()
        plan = self.plan
        columns = distributions.described(files)
        self.say("looking at the splits", 0, plan.total)
        drift = distributions.drifts([one for one in columns if one.name != SPLIT_COLUMNS.get(plan.split)])
        dropped = np.bincount(self.reason, minlength=len(plan.rules) + 1)
        return Card(
            kind=plan.reading.kind,
            inputs=[
                Input(name=source.path.name, sha256=source.sha256, rows=rows)
                for source, rows in zip(plan.sources, plan.rows, strict=True)
            ],
            mapping=dict(plan.reading.names),
            assumptions=plan.assumptions,
            rows_in=len(self.reason),
            rows_out=int(dropped[0]),
            rules=[
                RuleCount(
                    name=rule.name,
                    sentence=rule.sentence,
                    action=self.actions[rule.name],
                    found=self.found[rule.name],
                    dropped=int(dropped[number]),
                    note=self.notes.get(rule.name, ""),
                )
                for number, rule in enumerate(plan.rules, 1)
            ],
            changes=[Change(name=name, sentence=SENTENCES[name], values=self.changes[name]) for name in self.changes],
            split=plan.split,
            seed=self.spec.seed,
            splits=[self._size(name, path) for name, path in files.items()],
            columns=columns,
            drift=drift,
            checks=leakage.checks(files, plan.split),
        )

    def _clean(self) -> None:
        reasons = []
        for source in self.plan.sources:
            with readable(source.path):
                for raw in source.batches(BATCH):
                    rows, changes = cleaning.clean(raw, self.plan.reading)
                    self.changes += changes
                    found = rules.matches(rows, self.plan.rules, self.spec.service_codes)
                    self.found += Counter({name: int(found.get_column(name).sum()) for name in found.columns})
                    reasons.append(rules.first_reason(found, self.plan.rules, self.actions).to_numpy())
                    self.parts.append(rows.hstack(self._helpers(raw, rows)))
                    self.say("cleaning", self.parts.rows, self.plan.total)
        self.reason = np.concatenate(reasons)

    def _helpers(self, raw: pl.DataFrame, rows: pl.DataFrame) -> list[pl.Series]:
        """Hashes of what later steps compare, and where a row's group stands."""
        every = pl.struct(pl.all())
        helpers = raw.select(every.hash(seed).alias(name) for seed, name in enumerate(HASHES)).get_columns()
        if key := SHAPES[self.plan.reading.kind].key:
            helpers += rows.select(pl.struct(key).hash().alias(KEY)).get_columns()
        if "list" in rows.columns:
            helpers += rows.select(pl.col("list").hash().alias(LIST)).get_columns()
        if (group := _group(self.plan.split, rows.columns)) is not None:
            groups = rows.select(group.alias(PLACE)).to_series()
            helpers.append(splits.places(groups, self.spec.seed).fill_null(0.0))
        return helpers

    def _drop_repeats(self) -> None:
        first, second = (self.parts.column(name) for name in HASHES)
        self._drop("exact_duplicate", duplicates.repeats(first, second))
        if self._asked("superseded"):
            times = self.parts.column("time") if "time" in self.plan.reading.names else np.zeros(len(first), np.int64)
            self._drop("superseded", duplicates.superseded(self.parts.column(KEY), times, self._kept))

    def _drop_near_duplicates(self) -> None:
        if not self._asked("near_duplicate"):
            return
        self.say("comparing descriptions", 0, 0)
        kept = self._kept
        values, of = duplicates.sampled(
            (rows.to_series().filter(kept[place]) for place, rows in self.parts.batches(["text"])), TEXTS_COMPARED
        )
        pairs = duplicates.near_pairs(values.to_list())
        self.notes["near_duplicate"] = f"{len(pairs):,} pairs among {len(values):,} different descriptions."
        if len(values) < of:
            self.notes["near_duplicate"] += f" These were drawn from about {of:,}."
        later = values.gather(sorted({later for _, later, _ in pairs})).implode()
        found = [rows.to_series().is_in(later).fill_null(value=False) for _, rows in self.parts.batches(["text"])]
        self._drop("near_duplicate", kept & pl.concat(found).to_numpy())
        if pairs:
            pl.DataFrame(
                {
                    "first": values.gather([first for first, _, _ in pairs]),
                    "second": values.gather([second for _, second, _ in pairs]),
                    "similarity": [similarity for _, _, similarity in pairs],
                }
            ).write_parquet(self.ready / "near_duplicates.parquet")

    def _split(self) -> None:
        kept = self._kept
        if not kept.any():
            raise DataError(f"No row of {self.spec.files[0]} is left: {self._biggest_reason()}.")
        self.split = np.zeros(len(kept), np.uint8)
        if self.plan.split == "time":
            times = self.parts.column("time")
            self.split = splits.by_time(times, splits.cuts(times[kept], self.spec.shares))
        elif self.plan.split != "none":
            self.split = splits.by_place(self.parts.column(PLACE), self.spec.shares)
        if self.plan.split in ("time", "user") and self._asked("split_list"):
            self._drop("split_list", splits.torn(self.parts.column(LIST), self.split, kept))
        for number, name in enumerate(self.names):
            if not (self._kept & (self.split == number)).any():
                raise DataError(
                    f"The split by {self.plan.split} leaves no row for {name}: there are too few different values. "
                    "Give other --shares, another --split or another --seed."
                )

    def _drop_outliers(self) -> None:
        if not self._asked("outlier"):
            return
        kept, found, notes = self._kept, np.zeros(len(self.reason), bool), []
        for one in ("price", "quantity"):
            if one in self.plan.reading.names:
                values = self.parts.column(one)
                low, high = outliers.bounds(values[kept & (self.split == 0)])
                found |= (values < low) | (values > high)
                notes.append(f"{one} from {low:.4g} to {high:,.6g}")
        self.notes["outlier"] = f"Kept: {', '.join(notes)}." if notes else ""
        self._drop("outlier", found & kept)

    def _write(self) -> dict[str, Path]:
        newest = self._newest_texts()
        written = Parts(self.work / "written")
        for place, rows in self.parts.batches():
            split = pl.Series("split", self.split[place])
            done = rows.drop(INTERNAL, strict=False).with_columns(split)
            done = done.with_columns(
                pl.Series(REASON, self.reason[place]), row=pl.int_range(place.start + 1, place.stop + 1)
            )
            written.append(self._with_newest(done, newest))
            self.say("writing", written.rows, self.plan.total)
        files = {name: self.ready / f"{name}.parquet" for name in self.names}
        reason = pl.col(REASON)
        for number, path in enumerate(files.values()):
            kept = written.scan().filter((reason == 0) & (pl.col("split") == number))
            kept.drop("split", "row", REASON).sink_parquet(path)
        names = {number: rule.name for number, rule in enumerate(self.plan.rules, 1)}
        why = reason.replace_strict(names, return_dtype=pl.String).alias("reason")
        others = pl.exclude("row", "split", REASON)
        written.scan().filter(reason > 0).select("row", why, others).sink_parquet(self.ready / "dropped.parquet")
        return files

    def _newest_texts(self) -> pl.DataFrame | None:
        names = self.plan.reading.names
        if not ("item" in names and "text" in names and self.plan.reading.kind != "items"):
            return None
        newest = texts.newest_texts(self.parts, self._kept, self.split, by_time=self.plan.split == "time")
        if not newest.height:
            return None
        self.changes["changed_items"] = newest.get_column("item").n_unique()
        return newest.rename({"text": "_prepare_newest"})

    def _with_newest(self, rows: pl.DataFrame, newest: pl.DataFrame | None) -> pl.DataFrame:
        if newest is None:
            return rows
        joined = rows.join(newest, on=["item", "split"], how="left", maintain_order="left")
        kept = pl.col(REASON) == 0
        changed = kept & pl.col("_prepare_newest").is_not_null() & (pl.col("_prepare_newest") != pl.col("text"))
        self.changes["changed_texts"] += joined.filter(changed).height
        text = pl.when(changed).then("_prepare_newest").otherwise("text").alias("text")
        return joined.with_columns(text).drop("_prepare_newest")

    def _size(self, name: str, path: Path) -> Split:
        rows = pl.scan_parquet(path, glob=False)
        count = rows.select(pl.len()).collect(engine="streaming").item()
        share = count / max(1, int((self.reason == 0).sum()))
        if "time" not in self.plan.reading.names:
            return Split(name=name, file=path.name, rows=count, share=share)
        first, last = rows.select(pl.col("time").min().alias("a"), pl.col("time").max().alias("b")).collect().row(0)
        moments = [one.isoformat() if one else "" for one in (first, last)]
        return Split(name=name, file=path.name, rows=count, share=share, first=moments[0], last=moments[1])

    @property
    def _kept(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.reason == 0
        return found

    def _asked(self, name: str) -> bool:
        return any(rule.name == name for rule in self.plan.rules)

    def _drop(self, name: str, found: NDArray[np.bool_]) -> None:
        self.found[name] = int(found.sum())
        if self.actions[name] == "drop":
            number = 1 + [rule.name for rule in self.plan.rules].index(name)
            self.reason[found & self._kept] = number

    def _biggest_reason(self) -> str:
        number = int(np.bincount(self.reason).argmax())
        return f"most are dropped by the rule {self.plan.rules[number - 1].name}, which --keep turns off"


SENTENCES = cleaning.SENTENCES | {
    "changed_items": "items have more than one description; the newest one of the split's time is kept",
    "changed_texts": "rows got the newest description of their item",
}


def _group(split: SplitBy, columns: list[str]) -> pl.Expr | None:
    """What a split by query or user keeps together."""
    if split == "query":
        return pl.col("query").str.to_lowercase()
    if split == "user":
        return pl.coalesce(*(pl.when(pl.col(one) != "").then(one) for one in ("shopper", "list") if one in columns))
    return None
