"""Every known defect of Online Retail, counted once by the preparation and once by plain Python over the raw lines."""

import csv
import lzma
import math
import re
import statistics
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import pytest

from evaluator.preparation.run import run
from evaluator.preparation.spec import Spec

pytestmark = pytest.mark.data

SERVICE = {"AMAZONFEE", "BANK CHARGES"}
Line = dict[str, str]


def defects(line: Line) -> list[str]:
    """The names of the rules for single rows that match, in their order."""
    code, quantity, price = line["StockCode"], int(line["Quantity"]), float(line["UnitPrice"])
    short = len(code) < 5 and not code[0].isdigit()
    service = short or code.upper() in SERVICE or code.lower().startswith(("gift_", "test"))
    found = {
        "cancellation": line["InvoiceNo"].startswith("C"),
        "missing_text": line["Description"].strip() == "",
        "service_code": service,
        "non_positive_quantity": quantity <= 0,
        "non_positive_price": price <= 0,
        "missing_customer": line["CustomerID"] == "",
    }
    return [name for name, matches in found.items() if matches]


def quartile_bounds(values: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(map(math.log, values), n=4, method="inclusive")
    reach = 3 * max(high - low, math.log(4))
    return float(f"{math.exp(low - reach):.6g}"), float(f"{math.exp(high + reach):.6g}")


def test_every_defect_is_counted_exactly(data_folder: Path, tmp_path: Path) -> None:
    path = data_folder / "online_retail" / "transactions_to_2011-09-30.csv.xz"
    card = run(Spec(files=(path,)), tmp_path / "out")
    found, dropped = Counter[str](), Counter[str]()
    seen: set[tuple[str, ...]] = set()
    kept: list[Line] = []
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            names = defects(line)
            values = tuple(line.values())
            if values in seen:
                names.append("exact_duplicate")
            seen.add(values)
            found.update(names)
            dropped.update(names[:1])
            if not names:
                kept.append(line)

    times = sorted(datetime.fromisoformat(line["InvoiceDate"]) for line in kept)
    cuts = [times[round(len(times) * share)] for share in (0.8, 0.9)]
    split = [sum(datetime.fromisoformat(line["InvoiceDate"]) >= cut for cut in cuts) for line in kept]
    limits = {
        name: quartile_bounds([float(line[name]) for line, number in zip(kept, split, strict=True) if number == 0])
        for name in ("Quantity", "UnitPrice")
    }
    within = [all(low <= float(line[name]) <= high for name, (low, high) in limits.items()) for line in kept]
    dropped["outlier"] = found["outlier"] = within.count(False)

    rules = {rule.name: rule for rule in card.rules}
    counted = set(rules) - {"near_duplicate"}
    assert {name: rules[name].found for name in counted} == {name: found[name] for name in counted}
    assert {name: rules[name].dropped for name in counted} == {name: dropped[name] for name in counted}
    assert found["cancellation"] == 6_652 and found["missing_customer"] == 98_056 and found["missing_text"] == 1_260

    sizes = Counter(number for number, good in zip(split, within, strict=True) if good)
    assert [one.rows for one in card.splits] == [sizes[0], sizes[1], sizes[2]]
    texts: dict[str, set[str]] = defaultdict(set)
    for line, good in zip(kept, within, strict=True):
        if good:
            texts[line["StockCode"]].add(re.sub(r"\s+", " ", line["Description"]).strip())
    changed = sum(len(some) > 1 for some in texts.values())
    assert {one.name: one.values for one in card.changes}["changed_items"] == changed
    assert all(one.passed for one in card.checks)
