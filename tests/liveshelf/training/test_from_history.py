"""``liveshelf train --from-history``: purchases become a ranker that knows what only behaviour shows, and a version."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from evaluator.offline.resampling import Interval
from liveshelf.cli.app import app
from liveshelf.training.from_history import BEST, EASE, OURS, Learned
from liveshelf.training.history import HistoryFiles
from models.ranker import ItemWeights, first_stage, load, packaged
from models.store import Manifest, ModelStore
from models.store.parts import parts
from models.training.examples import ExamplesError
from streams.events.adapters import mapping
from streams.features.behaviour import FEATURES
from streams.features.history import Replay
from streams.features.items import BUYERS, DAY_MS, REPEATS

START = 1_700_000_000_000
CIRCLES, ITEMS, VISITS = 6, 72, 12
WORDS = ("hose", "lamp", "drill", "chair", "kettle", "ladder", "fan", "rug")


@pytest.fixture(autouse=True)
def here(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def purchase(shopper: int, item: int, ts: int) -> dict[str, object]:
    fields = {"type": "purchase", "event_id": f"{shopper}-{item}-{ts}", "ts": ts, "user_id": f"u{shopper}"}
    return fields | {"item_id": f"i{item}", "price": 5.0 + item % 3}


def written(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Each shopper belongs to a circle, whose items have nothing else in common; the circles sell alike."""
    chance = np.random.default_rng(5)
    circles = chance.permutation(ITEMS).reshape(CIRCLES, -1)
    events = []
    for shopper in range(48):
        mine = chance.permutation(circles[shopper % CIRCLES])
        for visit in range(VISITS):
            ts = START + int((visit * 5 + chance.random() * 4) * DAY_MS)
            bought = {int(mine[visit % len(mine)]), int(mine[(visit + 1) % len(mine)]), int(chance.integers(ITEMS))}
            events += [purchase(shopper, item, ts + place) for place, item in enumerate(sorted(bought))]
    events.sort(key=lambda one: str(one["ts"]))
    items = [{"item_id": f"i{one}", "title": f"{WORDS[one % len(WORDS)]} {one}"} for one in range(ITEMS)]
    return written(tmp_path / "events.jsonl", events), written(tmp_path / "items.jsonl", items)  # type: ignore[arg-type]


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def made(result: Result) -> Manifest:
    assert result.exit_code == 0, result.output
    [version] = re.findall(r"liveshelf models promote (\S+)", " ".join(result.output.split()))
    return ModelStore(".liveshelf/models").manifest(version)


def test_a_history_becomes_a_version_that_later_ones_keep(files: tuple[Path, Path], tmp_path: Path) -> None:
    events, items = map(str, files)
    learned = run("train", "--from-history", events, "--items", items, "--ranker", "linear")
    first, store = made(learned), ModelStore(".liveshelf/models")
    figures = first.metrics
    assert figures["ndcg_20_new"] > 1.2 * figures["best_sellers_ndcg_20_new"]
    assert figures["ndcg_20_all"] > 2 * figures["best_sellers_ndcg_20_all"]
    assert figures["packaged_ndcg_20_all"] > figures["best_sellers_ndcg_20_all"]
    assert (first.method, first.parent, first.encoder) == ("ranker", None, "packaged")
    assert "best sellers of 7 days" in learned.output and "EASE" in learned.output
    assert "The ranker is better: +" in " ".join(learned.output.split())
    found = parts(store, first.id)
    assert found.head is None and found.ranker is not None
    assert load(found.ranker, FEATURES).kind == "linear" and first_stage(found.ranker, FEATURES) is not None
    weights = ItemWeights.load(found.ranker)
    assert weights is not None and set(weights.ids) == {f"i{one}" for one in range(ITEMS)}
    shown = run("models", "show", first.id).output
    assert re.search(r"parts\W+ranker", shown) and "ranker/items.json" in shown

    pairs = [{"query": word, "item": f"{word} {number}", "intent": "buy"} for number, word in enumerate(WORDS)]
    pairs += [
        {"query": word, "item": f"{WORDS[number - 1]} 9", "intent": "ignore"} for number, word in enumerate(WORDS)
    ]
    examples = written(tmp_path / "examples.jsonl", pairs)  # type: ignore[arg-type]
    second = made(run("train", str(examples), "--parent", first.id, "--epochs", "1", "--report-to", "none"))
    ranker = {path: file for path, file in first.files.items() if path.startswith("ranker/")}
    assert ranker.items() < second.files.items() and "head/model.safetensors" in second.files

    store.slots.promote(second.id, "better")
    third = made(run("train", "--from-history", events, "--items", items, "--ranker", "trees"))
    head = {path: file for path, file in second.files.items() if path.startswith("head/")}
    assert head.items() < third.files.items() and "ranker/ranker.txt" in third.files
    assert third.parent == second.id and third.calibration == second.calibration
    assert third.metrics["ndcg_20_all"] > 2 * third.metrics["best_sellers_ndcg_20_all"]


def test_a_shoppers_hour_is_an_order_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    hour = START // 3_600_000 * 3_600_000
    lines = [purchase(1, 1, hour + 5), purchase(1, 2, hour), purchase(1, 1, hour + 9), purchase(1, 1, hour + 3_600_000)]
    lines += [purchase(2, 2, hour), purchase(2, 3, hour), purchase(2, 9, hour)]
    lines += [{**purchase(2, 1, hour), "type": "click", "event_id": "c"}, {"type": "purchase"}]
    events = written(tmp_path / "events.jsonl", lines)
    items = written(tmp_path / "items.jsonl", [{"item_id": f"i{one}", "title": f"lamp {one}"} for one in (1, 2, 3)])
    read = HistoryFiles([events, events], items).read(lambda _done, _total: None, most=2)
    assert read.ids == ("i2", "i1") or set(read.ids) == {"i1", "i2"}
    places = {name: place for place, name in enumerate(read.ids)}
    told = [(order.shopper, order.ts, [read.ids[one] for one in order.items.tolist()]) for order in read.orders]
    assert told == [("u1", hour, ["i2", "i1"]), ("u2", hour, ["i2"]), ("u1", hour + 3_600_000, ["i1"])]
    assert np.allclose(read.orders[0].prices, np.log(np.array([7.0, 6.0]) + 0.01)) and len(places) == 2
    assert read.counts == Counter(
        {
            "invalid events": 2,
            "purchases": 14,
            "other events (click), left out": 2,
            "items that the catalogue does not have, left out": 1,
            "items beyond the 2 with most buyers, left out": 1,
            "purchases of items left out": 4,
            "orders": 3,
            "shoppers": 2,
            "items": 2,
        }
    )


def test_variants_are_bought_as_their_product_and_counted_each(tmp_path: Path) -> None:
    hour = START // 3_600_000 * 3_600_000
    lines = [purchase(1, 1, hour), purchase(1, 2, hour + 1), purchase(1, 3, hour + 2), purchase(2, 2, hour + 3)]
    events = written(tmp_path / "events.jsonl", [*lines, purchase(1, 1, hour + DAY_MS)])
    groups = {1: "cup", 2: "cup", 3: None, 4: "cup"}
    items = [{"item_id": f"i{one}", "title": f"t{one}", "group_id": group} for one, group in groups.items()]
    items.insert(0, items[2] | {"group_id": "cup"})  # a later record takes it out
    read = HistoryFiles([events], written(tmp_path / "items.jsonl", items)).read(lambda _done, _total: None)  # type: ignore[arg-type]
    assert read.ids == ("i2", "i3"), "the size that most have bought stands for all"
    assert read.variants == (("i1", "i2"), ("i3",)) and len(read.texts) == 2
    told = [(order.shopper, order.items.tolist(), order.variants) for order in read.orders]
    assert told == [("u1", [0, 1], ("i1", "i2", "i3")), ("u2", [0], ("i2",)), ("u1", [0], ("i1",))]
    replay = Replay(read.orders, np.zeros((2, 4), np.float32), 200.0, variants=read.variants)
    for order in read.orders:
        replay.update(order)
    replay.behaviour.refresh()
    values = replay.past.items.values
    assert values[:, BUYERS].tolist() == [3, 1] and values[:, REPEATS].tolist() == [1, 0]
    own = replay.past.own("u1")
    assert own.places.tolist() == [0, 1] and own.times.tolist() == [3, 1]
    assert replay.past.behaviour.pairs.row(1)[0].tolist() == [0]


def test_a_csv_is_read_by_a_mapping(tmp_path: Path) -> None:
    table = tmp_path / "orders.csv"
    table.write_text(
        "who,sku,when,paid\nann,a,2026-01-02T10:00:00Z,3.5\nann,b,2026-01-02T10:00:00Z,\nann,a,2026-01-03T10:00:00Z,\n"
    )
    items = written(tmp_path / "items.jsonl", [{"item_id": one, "title": f"lamp {one}"} for one in "ab"])
    names = ("type==purchase", "user_id=who", "item_id=sku", "ts=when", "price=paid", "event_id={who}-{sku}-{when}")
    read = HistoryFiles([table], items, mapping.load(fields=names)).read(lambda _done, _total: None)
    assert [order.items.tolist() for order in read.orders] == [[0, 1], [0]]
    prices = np.concatenate([order.prices for order in read.orders])
    assert np.allclose(prices, np.log([3.51, np.nan, 3.51]), equal_nan=True)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "holds no purchases"),
        ([{**purchase(1, 1, START), "type": "click"}], "1 click"),
        ([purchase(1, 77, START)], "none of the items"),
        ([purchase(1, 1, START), purchase(1, 1, START + DAY_MS)], "1 orders of shoppers who had bought before"),
    ],
)
def test_a_history_that_teaches_nothing_is_told(tmp_path: Path, lines: list[dict[str, object]], said: str) -> None:
    events = written(tmp_path / "events.jsonl", lines)
    items = written(tmp_path / "items.jsonl", [{"item_id": "i1", "title": "lamp"}])
    result = run("train", "--from-history", str(events), "--items", str(items))
    assert result.exit_code == 1 and said in " ".join(result.output.split()), result.output


def test_a_history_needs_a_catalogue(files: tuple[Path, Path]) -> None:
    result = run("train", "--from-history", str(files[0]))
    assert result.exit_code == 2 and "--items" in result.output
    with pytest.raises(ExamplesError, match="holds no items"):
        HistoryFiles([files[0]], files[0]).read(lambda _done, _total: None)


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        (Interval(0.02, 0.01, 0.03), "The ranker is better: +0.020 (+0.010 to +0.030) of all items beside EASE."),
        (Interval(-0.02, -0.03, -0.01), "The ranker is worse, do not promote it"),
        (Interval(0.01, -0.01, 0.03), "The orders do not tell"),
    ],
)
def test_the_verdict_is_beside_the_best_of_the_others(lead: Interval, said: str) -> None:
    figures = {name: (Interval(value, 0.0, 1.0),) * 2 for name, value in ((BEST, 0.1), (EASE, 0.2), (OURS, 0.22))}
    leads = {BEST: (Interval(0.12, 0.1, 0.14),) * 2, EASE: (lead, Interval(0.5, 0.4, 0.6))}
    linear, nothing = packaged(FEATURES), ItemWeights((), np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float16))
    assert Learned(linear, linear, nothing, figures, leads, 9, 9).verdict().startswith(said)
