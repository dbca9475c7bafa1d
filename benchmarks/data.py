"""The data sets beside the checkout: where they are, what several benchmarks read of them, small ones of their form.

Knows files and their columns; nothing of what is measured.
"""

import json
import lzma
import os
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import typer

from liveshelf.demo.catalogs import ICECAT, made_up
from streams.events.schema import Item

TRAIN, DEV = (Path("homedepot") / f"{name}.jsonl.xz" for name in ("train", "dev"))
SESSIONS = Path("retrotech") / "sessions.csv.xz"
PURCHASES = Path("online_retail") / "transactions_to_2011-09-30.csv.xz"
ITEMS, TRAIN_QUERIES, DEV_QUERIES, LISTS, INVOICES, SHOWN = 120, 60, 30, 30, 400, 8
"""Sizes of what is made up; a list shows so many items, and an invoice has so many."""

GRADES = (3.0, 2.67, 2.0, 1.33)
"""Of a query's pairs: the item that it was made of, two of its category, and one of another."""


class Product(msgspec.Struct):
    """What is read of a catalogue line."""

    id: str
    title: str
    short_description: str = ""
    supplier: str | None = None


def data_folder() -> Path:
    """Where the data sets are: what ``LIVESHELF_DATA`` names, else beside the checkout."""
    path = Path(os.environ.get("LIVESHELF_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        raise typer.BadParameter(f"{path} is not there; LIVESHELF_DATA names the folder with the data")
    return path


def products(count: int) -> list[Product]:
    """The first products of the catalogue."""
    with lzma.open(data_folder() / ICECAT) as lines:
        return [msgspec.json.decode(line, type=Product) for line, _ in zip(lines, range(count), strict=False)]


def make_up(into: Path, seed: int = 1) -> None:
    """Write small files in the form of the real ones: products, judged pairs, result lists and invoices.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     make_up(Path(name))
    ...     sorted(path.name for path in Path(name).glob("*/*"))
    ['dev.jsonl.xz', 'products.jsonl.xz', 'sessions.csv.xz', 'train.jsonl.xz', 'transactions_to_2011-09-30.csv.xz']
    """
    chance, items = random.Random(seed), made_up(seed, ITEMS)
    chance.shuffle(items)
    _write(into / ICECAT, (json.dumps(_product(item)) for item in items))
    for name, queries in ((TRAIN, items[:TRAIN_QUERIES]), (DEV, items[-DEV_QUERIES:])):
        _write(into / name, (json.dumps(pair) for item in queries for pair in _pairs(item, items, chance)))
    _write(into / SESSIONS, _lists(items, chance))
    _write(into / PURCHASES, _invoices(items, chance))


def _product(item: Item) -> dict[str, object]:
    return {
        "id": item.item_id,
        "name": item.item_id,
        "title": item.title,
        "short_description": item.description,
        "date_released": "2026-01-01T00:00:00Z",
        "supplier": item.brand,
        "price": item.price,
        "attr_t_product_type": item.category,
        "attr_n_quantity_per_pack": 1.0,
    }


def _pairs(item: Item, items: Sequence[Item], chance: random.Random) -> list[dict[str, object]]:
    alike = [other for other in items if other.category == item.category and other is not item]
    apart = [other for other in items if other.category != item.category]
    judged = [item, *chance.sample(alike, 2), chance.choice(apart)]
    query = " ".join(item.title.replace(",", "").split()[1:4])
    return [
        {"query": f"{query} {item.item_id}", "item_id": one.item_id, "title": one.title, "relevance": grade}
        for one, grade in zip(judged, GRADES, strict=True)
    ]


def _lists(items: Sequence[Item], chance: random.Random) -> Iterable[str]:
    yield "sess_id,query,rank,clicked_doc_id,clicked"
    for number in range(LISTS):
        for rank, item in enumerate(chance.sample(range(10_000, 10_000 + len(items)), SHOWN)):
            yield f"{number},made up,{rank}.0,{item},{chance.random() < 0.2}"


def _invoices(items: Sequence[Item], chance: random.Random) -> Iterable[str]:
    yield "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    for number in range(INVOICES):
        date = datetime(2011, 1, 1) + timedelta(days=270 * number / INVOICES)
        shopper = 1 + chance.randrange(INVOICES // 8) if chance.random() < 0.8 else INVOICES + number
        known = min(len(items), 30 + len(items) * number // INVOICES)
        for place in chance.sample(range(known), SHOWN):
            title = items[place].title.replace(",", "")
            yield f"{number},{10_000 + place},{title},1,{date:%Y-%m-%d %H:%M:%S},{items[place].price},{shopper},France"


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
