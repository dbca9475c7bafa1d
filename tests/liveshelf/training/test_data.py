"""``liveshelf train --events``: events and items become examples as the live loop would make them, and a version."""

import csv
import gzip
import json
import lzma
import zlib
from collections import Counter
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from evaluator.attribution.join import JoinWindow
from liveshelf.cli.app import app
from liveshelf.training.data import EventFiles, LabelledFiles
from models.ranker import Linear, load
from models.store import Manifest, ModelStore
from models.training.examples import ExamplesError
from streams.config import BotsConfig
from streams.events.shelf import RankedRows, Shelf, ShelfItem, ShelfRecord, encoder
from streams.features.behaviour import COLUMNS, FEATURES
from streams.redis import keys

MINUTE = 60_000
START = 1_700_000_000_000


@pytest.fixture(autouse=True)
def here(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def visit(number: int, query: str, shown: list[str], **acts: str) -> list[dict[str, object]]:
    """A search, what was on the screen, and what was done, ten minutes after the visit before."""
    ts, who = START + 10 * MINUTE * number, {"user_id": f"u{number}"}
    rows: list[dict[str, object]] = [
        {"type": "search", "event_id": f"{number}s", "ts": ts, "query": query, **who},
        {
            "type": "impression",
            "event_id": f"{number}i",
            "ts": ts + 100,
            "shelf_id": f"shelf{number}",
            "surface": "search",
            "items": [{"item_id": item, "position": place} for place, item in enumerate(shown)],
            **who,
        },
    ]
    for place, (kind, item) in enumerate(acts.items()):
        act = {"type": kind, "event_id": f"{number}{kind}", "ts": ts + 1_000 * (place + 1), "item_id": item, **who}
        rows.append(act | ({"shelf_id": f"shelf{number}"} if kind == "click" else {}))
    return rows


@pytest.fixture
def items(tmp_path: Path) -> Path:
    things = ["hose", "lamp", "drill", "chair", "kettle"]
    return write(tmp_path / "items.jsonl", [{"item_id": thing, "title": f"A {thing}"} for thing in things])


@pytest.fixture
def events(tmp_path: Path) -> Path:
    rows = []
    for number in range(30):
        rows += visit(number, "Garden  hose", ["lamp", "hose", "drill"], click="hose", purchase="hose", read="drill")
    for number in range(30, 40):
        rows += visit(number, "desk lamp", ["chair", "gone", "lamp"], click="lamp")
    rows.append({"type": "click", "event_id": "orphan", "ts": START, "user_id": "x", "item_id": "hose"})
    rows.append(rows[2])  # once more
    rows.append({"type": "poke"})
    return write(tmp_path / "events.jsonl", rows)


def test_examples_are_labelled_and_split_by_time(events: Path, items: Path) -> None:
    found = EventFiles(events, items).label()
    # The newest event is the last visit's click; the four visits within 40 minutes before it have not closed.
    assert {name: found.counts[name] for name in ("buy", "read", "look", "ignore")} == {
        "buy": 30,
        "read": 30,
        "look": 6,
        "ignore": 30 + 12,
    }
    assert found.counts["orphan outcomes"] == 1
    assert found.counts["without text or context"] == 6
    assert found.counts["duplicate events"] == 1 and found.counts["invalid events"] == 1
    views = 36
    assert len(found.dev) == 2 * 4 and len(found.train) + len(found.dev) == 3 * 30 + 2 * 6
    assert {one.query for one in found.dev} == {"desk lamp"}
    assert all(one.shopper for one in (*found.train, *found.dev))
    first = found.train[:3]
    assert [(one.query, one.item, one.intent, one.position) for one in first] == [
        ("garden hose", "A lamp", "ignore", 0),
        ("garden hose", "A hose", "buy", 1),
        ("garden hose", "A drill", "read", 2),
    ]
    moments = [datetime.fromtimestamp((START + 10 * MINUTE * number + 100) / 1000, UTC) for number in (0, views - 5)]
    assert list(found.window) == moments


def test_shuffled_files_give_the_same(events: Path, items: Path, tmp_path: Path) -> None:
    lines = events.read_text().splitlines()
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("\n".join(sorted(lines, key=hash)) + "\n")
    one, other = EventFiles(events, items).label(), EventFiles(shuffled, items).label()
    assert (one.train, one.dev, one.window) == (other.train, other.dev, other.window)
    assert one.counts == other.counts


def test_shelf_records_tell_the_query(items: Path, tmp_path: Path) -> None:
    rows = [row for number in range(20) for row in visit(number, "wrong", ["hose", "lamp"], click="hose")]
    events = write(tmp_path / "events.jsonl", rows)
    shelf = {"surface": "search", "model": "m", "arm": "a", "made_at": 1, "event_ts": 1, "items": []}
    shelves = [
        ShelfRecord(
            key=keys.search("right", f"u{number}"),
            shopper=f"u{number}",
            query="right",
            shelf=Shelf(shelf_id=f"shelf{number}", **shelf),  # type: ignore[arg-type]
            propensities=[],
        )
        for number in range(10)
    ]
    file = tmp_path / "shelves.jsonl"
    file.write_bytes(b"\n".join(encoder.encode(record) for record in shelves))
    found = EventFiles(events, items, shelves=file).label()
    assert Counter(one.query for one in found.train) == {"right": 20, "wrong": 8}


def test_feeds_of_shelf_records_update_the_ranker(items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shoppers click what is cheap, which the packaged ranker does not look at."""
    chance, rows, records = np.random.default_rng(0), list[dict[str, object]](), list[ShelfRecord]()
    things = ["hose", "lamp", "drill", "chair", "kettle"]
    for number in range(120):
        shown = [things[place] for place in chance.permutation(5)]
        values = chance.normal(size=(6, len(FEATURES)))
        clicked = shown[int(values[:5, FEATURES.index("price")].argmin())]
        rows += [
            row | ({"surface": "feed"} if row["type"] == "impression" else {}) for row in visit(number, "x", shown)
        ]
        rows += visit(number, "x", shown, click=clicked)[2:]
        shelf = Shelf(
            shelf_id=f"shelf{number}",
            surface="feed",
            model="m",
            arm="a",
            made_at=1,
            event_ts=1,
            items=[ShelfItem(item, 1.0, 0.1, 0.1, 0.1, "own") for item in shown],
        )
        ranked = RankedRows(COLUMNS, values.astype("<f2").tobytes(), ["hose"], [0.0], 40, 1)
        who = f"u{number}"
        records.append(
            ShelfRecord(
                key=keys.feed(who),
                shopper=who,
                query=None,
                shelf=shelf,
                propensities=[1.0] * 5,
                history=["lamp"],
                weights=[1.0],
                ranked=ranked,
            )
        )
    events, shelves = write(tmp_path / "events.jsonl", rows), tmp_path / "shelves.jsonl"
    shelves.write_bytes(b"\n".join(encoder.encode(record) for record in records))
    found = EventFiles(events, items, shelves=shelves).label()
    assert len(found.feeds.train) + len(found.feeds.calibrate) == 116, "four are still open"
    np.testing.assert_array_equal(
        found.feeds.train[0].features,
        np.frombuffer(records[0].ranked.values, "<f2").reshape(6, -1),  # type: ignore[union-attr]
    )
    files = ("--events", str(events), "--items", str(items), "--shelves", str(shelves))
    kept = train(*files)
    assert "The ranker of feeds stays: 104 feeds with an outcome, 200 are needed." in kept.notes
    assert not any(name.startswith("ranker/") for name in kept.files)
    monkeypatch.setenv("LIVESHELF_GATE__LEAST_FEEDS", "50")
    made = train(*files)
    assert "The ranker of feeds (linear) learned from 104 feeds" in made.notes
    ranker = load(ModelStore(".liveshelf/models").fetch(made.id) / "ranker", FEATURES)
    assert isinstance(ranker, Linear) and ranker.weights[ranker.features.index("price")] < -0.1


def test_what_is_ignored_far_down_weighs_less(items: Path, tmp_path: Path) -> None:
    rows = []
    for number in range(200):
        shown = ["hose", "lamp"] if number % 2 else ["lamp", "hose"]
        clicked = shown[0] if number % 5 else shown[1]
        rows += visit(number, "thing", shown, click=clicked)
    found = EventFiles(write(tmp_path / "events.jsonl", rows), items, debias=True).label()
    ignored = {one.position: one.weight for one in found.train if one.intent == "ignore"}
    assert ignored[0] == 1.0
    assert ignored[1] == found.positions.get()[1] == pytest.approx(0.25, abs=0.01)
    assert {one.weight for one in found.train if one.intent == "look"} == {1.0}
    assert {one.weight for one in found.dev} == {1.0}, "what is judged by is judged as it came"


def test_suspected_bots_make_no_examples_from_the_page_on_that_gives_them_away(items: Path, tmp_path: Path) -> None:
    rows, things = list[dict[str, object]](), ["hose", "lamp", "drill", "chair", "kettle"]
    for number in range(17):
        rows += visit(number, "garden hose", things, click="hose")
        rows += [row | {"event_id": f"b{row['event_id']}", "user_id": "bot"} for row in visit(number, "lamp", things)]
        seen = {"ts": START + 10 * MINUTE * number + 500, "user_id": "bot", "shelf_id": f"shelf{number}"}
        rows += [{"type": "click", "event_id": f"{number}b{one}", "item_id": one, **seen} for one in things]
    file = write(tmp_path / "bots.jsonl", rows)
    found = EventFiles(file, items).label()
    assert found.counts["of suspected bots (positions), left out"] == 5 * (13 - 9), "four stay open"
    queries = Counter(one.query for one in (*found.train, *found.dev))
    assert queries == {"garden hose": 5 * 13, "lamp": 5 * 9}
    everybody = EventFiles(file, items, bots=BotsConfig(mark=False)).label()
    assert Counter(one.query for one in (*everybody.train, *everybody.dev)) == {"garden hose": 5 * 13, "lamp": 5 * 13}


def test_what_makes_no_examples_is_told(items: Path, tmp_path: Path) -> None:
    recent = write(tmp_path / "recent.jsonl", visit(0, "hose", ["hose"], click="hose"))
    with pytest.raises(ExamplesError, match="still open"):
        EventFiles(recent, items).label()
    with pytest.raises(ExamplesError, match="line 1, is no shelf record"):
        EventFiles(recent, items, shelves=recent).label()
    with pytest.raises(ExamplesError, match="one moment"):
        EventFiles(
            write(tmp_path / "one.jsonl", [*visit(0, "hose", ["hose"]), *visit(9, "x", ["gone"])]), items
        ).label()


def test_purchases_without_impressions_are_refused_with_the_reason_and_what_to_do(items: Path, tmp_path: Path) -> None:
    about = {"item_id": "hose", "price": 1.0}
    rows: list[dict[str, object]] = [
        {"type": "purchase", "event_id": f"e{n}", "ts": START + n * MINUTE, "user_id": f"u{n % 40}"} | about
        for n in range(2_000)
    ]
    rows.append({"type": "search", "event_id": "s", "ts": START, "user_id": "u1", "query": "hose"})
    orders = write(tmp_path / "orders.jsonl", rows)
    told = CliRunner().invoke(app, ["train", "--events", str(orders), "--items", str(items)])
    assert told.exit_code == 1
    said = " ".join(told.output.split())
    assert "orders.jsonl has no impressions (2,000 purchase, 1 search)" in said
    assert "an impression event for each list that was shown (docs/events.md)" in said
    assert "liveshelf replay" in said and "Traceback" not in said


@pytest.mark.parametrize("line", [b"\xff", b"[" * 100_000, b'"caf\xe9"'], ids=["no text", "too deep", "Latin-1"])
def test_a_shelf_record_that_cannot_be_read_is_named(line: bytes, items: Path, tmp_path: Path) -> None:
    shelves = tmp_path / "shelves.jsonl"
    shelves.write_bytes(line)
    with pytest.raises(ExamplesError, match=r"shelves\.jsonl, line 1, is no shelf record"):
        EventFiles(write(tmp_path / "a.jsonl", visit(0, "hose", ["hose"])), items, shelves=shelves).label()


def test_damaged_files_are_told_with_the_line(items: Path, tmp_path: Path) -> None:
    events = write(tmp_path / "a.jsonl", [row for n in range(300) for row in visit(n, "hose", ["hose"])])
    packed, shelves = tmp_path / "a.jsonl.gz", tmp_path / "shelves.jsonl.gz"
    packer = zlib.compressobj(wbits=31)
    packed.write_bytes(packer.compress(events.read_bytes()) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100)
    shelves.write_bytes(gzip.compress(b"")[:-4])
    for history in (EventFiles(packed, items), EventFiles(events, packed), EventFiles(events, items, shelves=shelves)):
        with pytest.raises(
            ExamplesError, match=r"a\.jsonl\.gz is damaged.*line \d+ \(error|shelves.*line 0 \(EOFError"
        ):
            history.label()


@pytest.mark.data
def test_real_sessions_are_counted_as_plain_code_counts_them(data_folder: Path) -> None:
    folder, lists = data_folder / "retrotech", 1_500
    with lzma.open(folder / "products.csv.xz", "rt", encoding="utf-8") as file:
        titles = {row["upc"] for row in csv.DictReader(file) if row["name"].strip()}
    shown: list[tuple[int, int, bool, bool]] = []  # list, position, clicked, in the catalogue
    asked = 0
    with lzma.open(folder / "sessions.csv.xz", "rt", encoding="utf-8") as file:
        for number, (_, rows) in enumerate(groupby(csv.DictReader(file), lambda row: (row["sess_id"], row["query"]))):
            if number == lists:
                break
            for row in rows:
                clicked = row["clicked"] == "True"
                asked += clicked
                known = row["clicked_doc_id"].removesuffix(".0").zfill(12) in titles
                shown.append((number, int(float(row["rank"])), clicked, known))
    # List n is seen at n minutes and 6 seconds; its clicks spread over the 54 seconds after that.
    found = labelled(folder, limit=2 * lists + asked)
    clicks = sum(row[2] for row in shown if row[0] == lists - 1)
    newest = 60_000 * (lists - 1) + 6_000 + 54_000 * clicks / (clicks + 1)
    open_ = {number for number in range(lists) if 60_000 * number + 6_000 + 40 * MINUTE >= newest}
    closed = [row for row in shown if row[0] not in open_]
    assert len(open_) >= 40 and any(not row[3] for row in closed)
    assert found.counts["look"] == sum(row[2] for row in closed)
    assert found.counts["ignore"] == sum(not row[2] for row in closed)
    assert found.counts["orphan outcomes"] == 0
    assert found.counts["without text or context"] == sum(not row[3] for row in closed)
    made = [*found.train, *found.dev]
    assert Counter((one.position, one.intent == "look") for one in made) == Counter(
        (row[1], row[2]) for row in closed if row[3]
    )
    views = sorted({row[0] for row in closed if row[3]})
    cut = views[int(0.9 * len(views))]
    assert len(found.train) == sum(row[3] for row in closed if row[0] < cut)
    theta = list(found.positions.get().values())
    assert theta[0] == 1 and max(theta[5:]) < 0.3 and max(theta[15:]) < 0.1, "few look far down"


def labelled(folder: Path, limit: int) -> LabelledFiles:
    files = folder / "sessions.csv.xz", folder / "products.csv.xz"
    return EventFiles(*files, "retrotech_sessions", "retrotech", limit=limit, rules=JoinWindow()).label()


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def train(*arguments: str) -> Manifest:
    result = run("--report-to", "none", "--contexts", "4", "--epochs", "1", *arguments)
    assert result.exit_code == 0, result.output
    store = ModelStore(".liveshelf/models")
    return store.manifest(store.ids()[-1])


def test_events_become_a_version_that_tells_their_window(events: Path, items: Path) -> None:
    made = train("--events", str(events), "--items", str(items), "--debias")
    assert (made.data.source, made.data.examples) == ("events.jsonl", 94)
    assert made.data.window_from == datetime.fromtimestamp((START + 100) / 1000, UTC)
    assert made.data.window_to == datetime.fromtimestamp((START + 31 * 10 * MINUTE + 100) / 1000, UTC)


@pytest.mark.parametrize("how", [(), ("--mine", "both"), ("--mine", "random")])
def test_negatives_come_from_the_batch_or_the_catalogue(items: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    things = ["hose", "lamp", "drill", "chair"]
    rows: list[dict[str, object]] = [
        {"query": f"{colour} {thing}", "item": f"A {thing}", "intent": "buy"}
        for thing in things
        for colour in ("a", "b", "c")
    ]
    file = write(tmp_path / "positives.jsonl", rows)
    made = train(str(file), "--negatives", "2", *how, *(("--items", str(items)) if how else ()))
    assert made.data.window_from is None
    assert (made.data.examples > 11) == bool(how)


def test_mistakes_are_one_paragraph(events: Path, items: Path) -> None:
    both = ("--events", str(events), "--items", str(items))
    for arguments, said in [
        ((), "--events"),
        (("--events", str(events)), "--items"),
        ((str(events), *both), "--events"),
        ((*both, "--dev", str(events)), "--dev"),
        ((*both, "--mine", "luck"), "luck"),
        ((*both, "--events-mapping", "nowhere"), "nowhere"),
        (("--events", str(items), "--items", str(items)), "no examples"),
    ]:
        result = run(*arguments)
        assert result.exit_code in {1, 2} and said in result.output, result.output
