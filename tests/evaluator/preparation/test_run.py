"""A preparation end to end on small made-up files: each defect is counted once, and nothing is left of a failed run."""

import gzip
import json
import lzma
import re
from pathlib import Path

import polars as pl
import pytest

from evaluator.preparation.card import Card
from evaluator.preparation.run import run
from evaluator.preparation.spec import Spec
from evaluator.preparation.tables import DataError

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def line(number: int, **other: str) -> str:
    """A flawless line of an invoice of its own."""
    row = {
        "invoice": str(500_000 + number),
        "code": str(20_000 + number % 7),
        "text": f"LANTERN {number % 7}",
        "quantity": "2",
        "time": f"2011-01-{1 + number // 24:02} {number % 24:02}:00:00",
        "price": "1.50",
        "customer": f"{100 + number % 5}.0",
        "country": "France",
    }
    return ",".join((row | other).values())


DEFECTS = {
    "cancellation": [line(50, invoice="C500050", quantity="-2")],
    "missing_text": [line(51, text=""), line(51, invoice="9", text="")],
    "service_code": [line(52, code="POST"), line(53, code="TEST001"), line(54, code="m")],
    "non_positive_quantity": [line(55, quantity="-1"), line(56, quantity="0")],
    "non_positive_price": [line(57, price="0")],
    "missing_customer": [line(58, customer="")],
    "unreadable_time": [line(59, time="soon")],
    "unreadable_quantity": [line(60, quantity="two")],
    "unreadable_price": [line(61, price="")],
    "exact_duplicate": [line(3), line(3)],
    "outlier": [line(62, quantity="90000")],
    "missing_item": [line(63, code="")],
}


@pytest.fixture
def transactions(tmp_path: Path) -> Path:
    lines = [HEADER, *map(line, range(48)), *(one for some in DEFECTS.values() for one in some)]
    path = tmp_path / "lines.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def counts(card: Card) -> dict[str, int]:
    return {rule.name: rule.dropped for rule in card.rules if rule.dropped}


def test_each_defect_is_dropped_for_its_own_rule(transactions: Path, tmp_path: Path) -> None:
    card = run(Spec(files=(transactions,)), tmp_path / "out")
    assert counts(card) == {name: len(lines) for name, lines in DEFECTS.items()}
    assert card.rows_in == 48 + sum(map(len, DEFECTS.values())) and card.rows_out == 48
    assert {split.name: split.rows for split in card.splits} == {"train": 39, "dev": 5, "test": 4}
    dropped = pl.read_parquet(tmp_path / "out" / "dropped.parquet")
    assert dict(dropped.group_by("reason").len().iter_rows()) == counts(card)
    first = dropped.filter(reason="cancellation").row(0, named=True)
    assert first["row"] == 49 and first["list"] == "C500050"
    train = pl.read_parquet(tmp_path / "out" / "train.parquet")
    assert train.get_column("shopper").str.contains(r"^\d+$").all()
    assert train.schema["time"] == pl.Datetime("ms", "UTC")


def test_a_rule_that_is_kept_only_counts(transactions: Path, tmp_path: Path) -> None:
    card = run(Spec(files=(transactions,), keep=("service_code", "outlier")), tmp_path / "out")
    found = {rule.name: rule for rule in card.rules}
    assert found["service_code"].found == 3 and found["service_code"].dropped == 0
    assert card.rows_out == 48 + 3 + 1


def test_two_runs_write_the_same(transactions: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(Spec(files=(transactions,)), tmp_path / name)
    for name in ("card.json", "card.html", "train.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.xz", "jsonl", "jsonl.xz", "parquet", "parquet.gz"])
def test_every_format_gives_the_same(transactions: Path, tmp_path: Path, suffix: str) -> None:
    table = pl.read_csv(transactions, infer_schema=False)
    plain = tmp_path / f"other.{suffix.partition('.')[0]}"
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[plain.suffix[1:]](plain)
    path = tmp_path / f"other.{suffix}"
    if suffix.endswith("z"):
        pack = gzip.compress if suffix.endswith("gz") else lzma.compress
        path.write_bytes(pack(plain.read_bytes()))
    card, other = (run(Spec(files=(file,)), tmp_path / name) for file, name in ((transactions, "a"), (path, "b")))
    assert other.rules == card.rules and other.splits == card.splits and other.columns == card.columns


def test_several_files_are_one(transactions: Path, tmp_path: Path) -> None:
    lines = transactions.read_text("utf-8").splitlines()
    halves = [tmp_path / "1.csv", tmp_path / "2.csv"]
    halves[0].write_text("\n".join(lines[:30]) + "\n", "utf-8")
    halves[1].write_text("\n".join([lines[0], *lines[30:]]) + "\n", "utf-8")
    whole, parts = run(Spec(files=(transactions,)), tmp_path / "a"), run(Spec(files=tuple(halves)), tmp_path / "b")
    assert parts.rules == whole.rules and [one.rows for one in parts.inputs] == [29, whole.rows_in - 29]


def test_the_newest_description_is_that_of_the_splits_own_time(tmp_path: Path) -> None:
    """The description of the test's time must not be in the training rows."""
    rows = [line(number, text="LAMP") for number in range(30)]
    rows += [line(number, text="DESK LAMP") for number in range(30, 40)]
    rows += [line(number, text="OFFICE LAMP") for number in range(40, 50)]
    path = tmp_path / "lines.csv"
    path.write_text("\n".join([HEADER, *rows]), "utf-8")
    card = run(Spec(files=(path,), shares=(0.8, 0.2)), tmp_path / "out")
    train, test = (pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("train", "test"))
    assert set(train.get_column("text")) == {"DESK LAMP"} and set(test.get_column("text")) == {"OFFICE LAMP"}
    assert {one.name: one.values for one in card.changes} | {"changed_items": 7, "changed_texts": 30} == {
        one.name: one.values for one in card.changes
    }


def pairs_file(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_pairs_are_split_by_query_whatever_its_case(tmp_path: Path) -> None:
    rows = [
        {"query": word.format(number), "item_id": str(item), "title": f"Thing {item}", "relevance": item % 3}
        for number in range(60)
        for item, word in enumerate(("lamp {}", "Lamp {}", " LAMP  {} "), number)
    ]
    card = run(Spec(files=(pairs_file(tmp_path / "pairs.jsonl", rows),)), tmp_path / "out")
    assert card.kind == "pairs" and card.split == "query"
    found = [
        set(pl.read_parquet(tmp_path / "out" / one.file).get_column("query").str.to_lowercase()) for one in card.splits
    ]
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    assert all(one.passed for one in card.checks if one.binding) and sum(map(len, found)) == 60


def test_a_newer_label_of_the_same_pair_counts(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"query": f"lamp {number}", "item_id": "1", "title": "Lamp", "relevance": 1} for number in range(40)
    ]
    rows += [rows[0] | {"relevance": 3}, rows[1] | {"relevance": None}]
    card = run(Spec(files=(pairs_file(tmp_path / "pairs.jsonl", rows),), split="none"), tmp_path / "out")
    assert counts(card) == {"superseded": 1, "unreadable_label": 1}
    left = pl.read_parquet(tmp_path / "out" / "all.parquet").filter(query="lamp 0")
    assert left.get_column("gain").to_list() == [3.0]


def test_sessions_of_a_split_by_user_stay_whole(tmp_path: Path) -> None:
    rows = [f"s{number // 4},u{number // 8},i{number % 9}" for number in range(400)]
    path = tmp_path / "views.csv"
    path.write_text("\n".join(["session_id,user_id,item_id", *rows]), "utf-8")
    card = run(Spec(files=(path,)), tmp_path / "out")
    assert card.kind == "behaviour" and card.split == "user" and card.rows_out == 400
    assert [one.name for one in card.checks if one.binding] == ["user", "order or session", "equal rows"]
    assert all(one.passed for one in card.checks)


def test_an_order_on_both_sides_of_the_cut_is_dropped(tmp_path: Path) -> None:
    rows = [line(number) for number in range(50)] + [line(1, invoice="7"), line(49, invoice="7")]
    path = tmp_path / "lines.csv"
    path.write_text("\n".join([HEADER, *rows]), "utf-8")
    card = run(Spec(files=(path,)), tmp_path / "out")
    assert counts(card) == {"split_list": 2} and all(one.passed for one in card.checks)


def test_profiles_and_items_have_one_row_a_key(tmp_path: Path) -> None:
    users, items = tmp_path / "users.csv", tmp_path / "items.csv"
    users.write_text("user_id,age\n" + "".join(f"{number % 50},{number}\n" for number in range(60)), "utf-8")
    items.write_text("sku,title,price\n1,<b>Lamp</b>,£1.20\n1,Lamp &amp; bulb,£1.50\n2,,3\n3,Desk 1.5 m,£2", "utf-8")
    assert counts(run(Spec(files=(users,), shares=(0.5, 0.5)), tmp_path / "a")) == {"superseded": 10}
    card = run(Spec(files=(items,)), tmp_path / "b")
    assert counts(card) == {"superseded": 1, "missing_text": 1}
    left = pl.read_parquet(tmp_path / "b" / "all.parquet").select("item", "text", "price", "measure", "currency")
    assert left.rows() == [("1", "Lamp & bulb", 1.5, None, "GBP"), ("3", "Desk 1.5 m", 2.0, 1500.0, "GBP")]


def test_prices_of_other_currencies_need_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("sku,title,price\n1,Lamp,£1\n2,Desk,£2\n3,Bed,10 €\n4,Cup,$3", "utf-8")
    card = run(Spec(files=(path,), rates={"EUR": 0.8}), tmp_path / "out")
    assert counts(card) == {"foreign_currency": 1} and "GBP 2" in " ".join(card.assumptions)
    assert pl.read_parquet(tmp_path / "out" / "all.parquet").get_column("price").to_list() == [1.0, 2.0, 8.0]


def test_near_duplicates_are_counted_and_dropped_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    names = ["RED RETROSPOT CHARLOTTE BAG", "RED RETROSPOT CHARLOTTE BAGS", "BLUE DOG COLLAR 5", "BLUE DOG COLLAR 6"]
    path.write_text("sku,title\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names)), "utf-8")
    assert {one.name: one.found for one in run(Spec(files=(path,)), tmp_path / "a").rules}["near_duplicate"] == 1
    assert counts(run(Spec(files=(path,), drop=("near_duplicate",)), tmp_path / "b")) == {"near_duplicate": 1}
    assert pl.read_parquet(tmp_path / "a" / "near_duplicates.parquet").height == 1


def test_the_page_takes_nothing_from_elsewhere_and_names_no_text_of_a_user(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"query": f"secret{number}", "item_id": "<script>", "title": "A", "relevance": 1, "site": "<i>shop"}
        for number in range(60)
    ]
    card = run(Spec(files=(pairs_file(tmp_path / "pairs.jsonl", rows),)), tmp_path / "out")
    html = (tmp_path / "out" / "card.html").read_text("utf-8")
    assert "secret" not in html + (tmp_path / "out" / "card.json").read_text("utf-8")
    assert "<script" not in html and "<i>" not in html
    assert not re.search(r"(?:src|href)=|url\(|@import", html) and card.rows_out == 60


def test_a_table_with_semicolons_and_decimal_commas_is_the_same_table(tmp_path: Path) -> None:
    """A spreadsheet writes it so in much of Europe, often in its old encoding."""
    columns = {"list": "Bestellung", "shopper": "Kunde", "time": "Datum", "item": "Artikel", "price": "Preis"}
    rows = [(f"B{n}", f"K{n % 5}", f"{n % 28 + 1:02}.01.2025", f"Größe {n % 7}", f"{n},95") for n in range(1, 40)]
    commas, semicolons = tmp_path / "commas.csv", tmp_path / "semicolons.csv"
    quoted = [",".join(f'"{value}"' for value in row) for row in (tuple(columns.values()), *rows)]
    commas.write_text("\n".join(quoted), "utf-8")
    semicolons.write_text("\n".join(";".join(row) for row in (tuple(columns.values()), *rows)), "cp1252")
    for file, encoding in ((commas, "utf-8"), (semicolons, "cp1252")):
        run(Spec(files=(file,), columns=columns, encoding=encoding), tmp_path / file.stem)
    one, other = (pl.read_parquet(tmp_path / name / "train.parquet") for name in ("commas", "semicolons"))
    assert one.equals(other) and dict(one.select("list", "price").iter_rows())["B7"] == 7.95
    assert set(one["item"]) == {f"Größe {n}" for n in range(7)}


def test_a_drift_of_what_the_split_is_made_by_is_not_told(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"query": f"q{number // 8}", "item_id": f"{number % 9}", "title": f"A {number % 9}", "relevance": number % 4}
        for number in range(480)
    ]
    card = run(Spec(files=(pairs_file(tmp_path / "pairs.jsonl", rows),)), tmp_path / "out")
    assert card.split == "query" and {one.column for one in card.drift} >= {"gain"}
    assert "query" not in {one.column for one in card.drift}


@pytest.mark.parametrize(
    ("content", "spec", "sentence"),
    [
        ("", {}, "cannot be read"),
        (HEADER, {}, "there are no rows"),
        ("a,b\n1,2\n", {}, "no kind of data"),
        ("user_id,age\n1,2\n", {"kind": "items"}, "no column for item"),
        ("user_id,age\n1,2\n", {"columns": {"shopper": "name"}}, "has no column 'name'"),
        ("user_id,age\n1,2\n", {"columns": {"colour": "age"}}, "colour is no field"),
        ("user_id,age\n1,2\n2,3\n", {}, "leaves no row for"),
        ("user_id,age\n1,2\n", {"split": "time"}, "cannot be split by time"),
        ("user_id,age\n,2\n", {}, "missing_customer"),
        ("sku,title\n1,a\n2,b,c,d\n", {}, "cannot be read"),
        (b"sku,title\n1,caf\xe9\n", {}, "--encoding"),
        ("sku,title\n1,a\n", {"encoding": "klingon"}, "no encoding"),
        ("sku,title\n1,a\n", {"keep": ("all",)}, "all is no rule"),
        ("sku,title\n1,a\n", {"shares": (0.5, 0.4)}, "add up to 1"),
        ("sku,title\n1,a\n", {"time_zone": "Mars/Olympus"}, "no time zone"),
        ("sku,title\n1,a\n", {"service_codes": "("}, "no pattern"),
    ],
)
def test_what_cannot_be_prepared_ends_with_a_sentence_and_leaves_nothing(
    content: str | bytes, spec: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "input.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as raised:
        run(Spec(files=(path,), **spec), tmp_path / "out")  # type: ignore[arg-type]
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_and_missing_files_and_a_used_folder(transactions: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(b"sku,title\n1,a\n")[:-6])
    for path, sentence in (
        (broken, "is damaged or cut off"),
        (tmp_path / "none.csv", "is not there"),
        (Path(__file__), "no table"),
    ):
        with pytest.raises(DataError, match=sentence):
            run(Spec(files=(path,)), tmp_path / "out")
    with pytest.raises(DataError, match="holds something"):
        run(Spec(files=(transactions,)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.csv.gz", "lines.csv"]


def test_another_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes("商品ID,标题,价格\n1,台灯,\uff11\uff12元\n".encode("gb18030"))
    card = run(Spec(files=(path,), encoding="gb18030"), tmp_path / "out")
    left = pl.read_parquet(tmp_path / "out" / "all.parquet")
    assert (
        left.select("item", "text", "price", "currency").row(0) == ("1", "台灯", 12.0, "CNY") and card.kind == "items"
    )


def test_a_field_that_only_late_lines_have_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are seen in all lines, a block at a time: a number may become text, and a column may come late."""
    monkeypatch.setattr("evaluator.preparation.tables.CHUNK", 4)
    rows: list[dict[str, object]] = [{"sku": number, "title": f"Lamp {number}"} for number in range(20)]
    rows += [{"sku": "x1", "title": "Desk", "colour": "red"}]
    run(Spec(files=(pairs_file(tmp_path / "items.jsonl", rows),)), tmp_path / "out")
    last = pl.read_parquet(tmp_path / "out" / "all.parquet").row(-1, named=True)
    assert last["item"] == "x1" and last["colour"] == "red"


def test_lines_that_are_no_json_end_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"sku": 1, "title": "a"}\n{"sku": 2, "tit\n', "utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        run(Spec(files=(path,)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]
