"""A running worker takes new versions of the model: heads at once, encoders when their catalogue is complete, and what
it holds already, a challenger or the version before, as soon as it is told. How long each takes is measured by
``benchmarks/swaps.py``."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.stirred import stirred
from liveshelf.cli.models import models_canary, models_promote, models_rollback
from models.late_interaction import LateInteraction
from models.store import Manifest, ModelStore
from models.weights import PACKAGED, fingerprint, resolve
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import ShelfRecord
from streams.redis import keys
from streams.telemetry.meter import Snapshot, quantiles, total
from tests.integration.test_worker import item, search
from tests.models.store.conftest import description, unreadable
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

log = logging.getLogger(__name__)

WATCH_S = 1.0
STANDBY_S = 1.0
LOOKED = 60
"""Shelves that are looked at after a change."""
FEW = 40
COUNT = 150
"""So many that a change of the encoder can be watched."""
MANY = 500
ADJECTIVES = ("red", "blue", "green", "black", "small", "large", "cheap", "wireless", "steel", "wooden")
NOUNS = ("cable", "hub", "mouse", "pad", "lamp", "chair", "hose", "tent", "drill", "kettle")


def title(number: int) -> str:
    """Three words; the last is this item's alone."""
    return f"{ADJECTIVES[number % 10]} {NOUNS[number // 10 % 10]} qx{number:03d}"


def items(count: int) -> dict[str, bytes]:
    """The first items."""
    return {f"i{number}": item(f"i{number}", title(number), price=number) for number in range(count)}


@dataclass(frozen=True, slots=True)
class Versions:
    """A store with two heads over the packaged encoder, and a version with an encoder of its own."""

    store: ModelStore
    url: str
    first: Manifest
    second: Manifest
    encoder: Manifest


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Made once: each test works on a copy."""
    folder = tmp_path_factory.mktemp("versions")
    store = ModelStore(str(folder / "models"))
    made = [
        stirred(store, folder / name, seed, own)
        for name, seed, own in (("a", 1, False), ("b", 2, False), ("c", 3, True))
    ]
    return Versions(store, str(folder / "models"), *made)


@pytest.fixture
def versions(stored: Versions, tmp_path: Path, request: pytest.FixtureRequest) -> Versions:
    """The first head is champion, unless a test wants none."""
    url = str(tmp_path / "models")
    shutil.copytree(stored.url, url)
    store = ModelStore(url)
    if getattr(request, "param", True):
        store.slots.promote(stored.first.id, "the first")
    return replace(stored, store=store, url=url)


@pytest.fixture
def shop(
    kafka: KafkaConfig,
    redis_db: str,
    topics_config: TopicsConfig,
    tmp_path: Path,
    versions: Versions,
    request: pytest.FixtureRequest,
) -> Iterator[Shop]:
    """A shop whose worker serves the champion and holds some items; a test may add to its settings, and want more."""
    settings = dict(getattr(request, "param", {}))
    count = settings.pop("items", FEW)
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.env |= {
            "LIVESHELF_MODEL__STORE": versions.url,
            "LIVESHELF_MODEL__WATCH_S": str(WATCH_S),
            "LIVESHELF_MODEL__STANDBY_S": str(STANDBY_S),
            "LIVESHELF_WORKER__METRICS_EVERY_S": "0.25",
            **settings,
        }
        shop.put_items(items(count))
        shop.start()
        shop.ready(count)
        yield shop


@dataclass(slots=True)
class Visitors:
    """New shoppers who search, one after the other; each must get a feed and results."""

    shop: Shop
    every_s: float = 0.03
    users: list[str] = field(default_factory=list)
    queries: set[str] = field(default_factory=set)

    @contextmanager
    def coming(self) -> Iterator["Visitors"]:
        """They come for as long as the block lasts; then all of them must have been served."""
        closing = threading.Event()
        thread = threading.Thread(target=self._come, args=(closing,))
        thread.start()
        try:
            yield self
        finally:
            closing.set()
            thread.join()
        self.shop.producer.flush()
        self.shop.drained()
        missing = [user for user in self.users if self.shop.shelf(keys.feed(user)) is None]
        missing += [query for query in self.queries if self.shop.shelf(keys.search(query)) is None]
        assert not missing, f"{len(missing)} shelves of {len(self.users)} shoppers missing: {missing[:5]}"

    def _come(self, closing: threading.Event) -> None:
        while not closing.wait(self.every_s):
            number = len(self.users)
            user, query = f"v{number}", f"{ADJECTIVES[number % 10]} {NOUNS[number // 3 % 10]}"
            self.shop.producer.send(
                self.shop.topics.events, key=user.encode(), value=search(query, f"v{number}", user)[1]
            )
            self.users.append(user)
            self.queries.add(query)


def serves(shop: Shop, version: Manifest) -> list[Snapshot]:
    """Wait until the worker says that it serves a version, and that no other catalogue is left in memory."""
    return shop.seen(lambda snapshot: snapshot.labels.get("model") == version.id and snapshot.gauges["catalogues"] == 1)


def found(shop: Shop, number: int, words: str | None = None) -> list[str]:
    """What a new search for an item's own word shows."""
    query = words or title(number)
    return asked(shop, {number: query})[number]


def asked(shop: Shop, queries: Mapping[int, str]) -> dict[int, list[str]]:
    """What new searches show."""
    since = wall_ms()
    shop.produce(
        shop.topics.events,
        [search(query, f"f{number}-{time.time_ns()}", f"finder-{number}") for number, query in queries.items()],
    )

    def shown(query: str) -> Any:
        return (there := shop.shelf(keys.search(query))) is not None and there.event_ts >= since and there

    return {number: [one.item_id for one in until(partial(shown, query)).items] for number, query in queries.items()}


def roles(snapshot: Snapshot) -> tuple[str, ...]:
    """Which versions serve, come next, and are on trial."""
    return tuple(snapshot.labels[name] for name in ("model", "next", "challenger"))


def told(name: str, snapshots: list[Snapshot]) -> None:
    """Say how long shoppers waited."""
    waits = quantiles(snapshots, "end_to_end", (0.5, 0.99, 1.0))
    log.info("%s: end to end p50 %.0f ms, p99 %.0f ms, longest %.0f ms", name, *waits)


def test_a_new_head_serves_at_once_and_a_damaged_version_never(shop: Shop, versions: Versions) -> None:
    encoded = shop.counted("items.encoded")
    with Visitors(shop).coming():
        until_ms = (time.time() + 3) * 1000
        told("before", shop.seen(lambda snapshot: snapshot.to_ms > until_ms))
        versions.store.slots.promote(versions.second.id, "better")
        told("new head", serves(shop, versions.second))

        damaged = stirred(versions.store, Path(versions.url).parent / "d", 4, False)
        file = Path(versions.url) / "versions" / damaged.id / "head" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        versions.store.slots.promote(damaged.id, "a mistake")
        until(lambda: shop.counted("model.refused") > 0, every_s=0.3)  # all snapshots: it may be refused at once
        time.sleep(3 * WATCH_S)

    heads = [
        LateInteraction.load(Path(versions.url) / "versions" / made.id / "head").fingerprint()
        for made in (versions.first, versions.second)
    ]
    made = [record for record in shop.published() if record.shopper]
    models = [record.shelf.model for record in made]
    assert [head for head in heads if head in models[0]] == heads[:1]
    assert [head for head in heads if head in models[-1]] == heads[1:]
    change = models.index(models[-1])
    assert len(set(models)) == 2 and set(models[change:]) == {models[-1]}, "one change, for good"
    assert shop.counted("items.encoded") == encoded == FEW
    assert shop.counted("model.refused") == 1
    log = shop.log().read_text()
    [line] = [line for line in log.splitlines() if "refused" in line]
    assert damaged.id in line and "model.safetensors" in line and versions.second.id in line


@pytest.mark.parametrize("shop", [{"items": COUNT}], indirect=True)
def test_a_new_encoder_serves_when_all_items_are_encoded_and_the_old_one_can_come_back(
    shop: Shop, versions: Versions
) -> None:
    encoded = shop.counted("items.encoded")
    with Visitors(shop).coming():
        versions.store.slots.promote(versions.encoder.id, "a new encoder")
        during = shop.seen(lambda snapshot: 0.1 < snapshot.gauges["switch_progress"] < 1)
        assert roles(during[-1]) == (versions.first.id, versions.encoder.id, "")
        shop.put_items(
            {"i7": item("i7", "Zebra telescope 3000"), "i8": None, "new": item("new", "Copper sundial qx999")}
        )
        assert "i120" in found(shop, 120), "whichever serves by now"
        during += serves(shop, versions.encoder)
        told("new encoder", during)
    assert during[-1].gauges["items"] == COUNT
    models = [versions.encoder.encoder_fingerprint in record.shelf.model for record in shop.published()]
    assert models == sorted(models) and {*models} == {False, True}, "one change, for good; the old one served before"
    for number, shown in asked(shop, {number: title(number) for number in range(COUNT)}).items():
        if number not in (7, 8):
            assert f"i{number}" in shown
        assert "i8" not in shown
    assert found(shop, 7, "zebra telescope")[0] == "i7" and found(shop, 999, "copper sundial")[0] == "new"
    shelf = shop.shelf(keys.search(title(120)))
    assert shelf is not None and versions.encoder.encoder_fingerprint in shelf.model

    again = shop.counted("items.encoded")
    assert COUNT <= again - encoded <= COUNT + 4, "each item once, the new and the updated one for both"
    shop.put_items({"i9": item("i9", title(9), price=1), "i10": None})
    until(lambda: shop.counted("items.deleted") == 2, every_s=0.3)
    versions.store.slots.rollback("clicks fell")
    serves(shop, versions.first)
    assert shop.counted("items.encoded") == again, "the topic still had what the old encoder made"
    assert found(shop, 7, "zebra telescope")[0] == "i7" and found(shop, 999, "copper sundial")[0] == "new"
    assert "i8" not in found(shop, 8) and "i10" not in found(shop, 10) and "i9" in found(shop, 9)


@pytest.mark.parametrize("shop", [{"items": COUNT}], indirect=True)
def test_a_worker_killed_in_the_middle_goes_on_with_what_is_there(shop: Shop, versions: Versions) -> None:
    # So many that a second's delay in hearing of the progress does not decide the test.
    shop.put_items({f"m{number}": item(f"m{number}", f"{title(number)} spare") for number in range(MANY - COUNT)})
    shop.seen(lambda snapshot: snapshot.gauges["items"] == MANY)
    versions.store.slots.promote(versions.encoder.id, "a new encoder")
    shop.seen(lambda snapshot: 0.1 < snapshot.gauges["switch_progress"] < 0.7)
    shop.kill()
    killed = int(time.time() * 1000)
    shop.start()
    first = shop.ready()[0]
    assert roles(first) == (versions.first.id, versions.encoder.id, ""), "the one that is complete serves"
    assert first.gauges["items"] == MANY
    assert "i3" in found(shop, 3)
    last = serves(shop, versions.encoder)[-1]
    assert last.gauges["items"] == MANY
    assert all(f"i{number}" in found(shop, number) for number in range(0, COUNT, 30))
    assert total(reporting.snapshots(shop.config, killed), "items.encoded") < 0.95 * MANY


def command(shop: Shop, monkeypatch: pytest.MonkeyPatch, run: Callable[..., None], **arguments: Any) -> None:
    """Run what ``liveshelf models …`` runs."""
    for name, value in shop.env.items():
        monkeypatch.setenv(name, value)
    run(**arguments)


def head(versions: Versions, made: Manifest | None) -> str:
    """By which a version's shelves are known, as all of these versions have heads of their own."""
    if made is None:
        return LateInteraction().fingerprint()
    return LateInteraction.load(Path(versions.url) / "versions" / made.id / "head").fingerprint()


@dataclass(frozen=True, slots=True)
class Looked:
    """From when until when (epoch ms) all shelves are to be of one model."""

    since: int
    until: int


def looked(shop: Shop, holds: Callable[[Snapshot], bool]) -> Looked:
    """Wait until the worker says that a change is made, then for shoppers' shelves that are made after that: those
    of the batch before may be published later."""
    shop.seen(holds)
    since = wall_ms()
    until(lambda: len(made_in(shop.published(), Looked(since, wall_ms()))) >= LOOKED, every_s=0.5)
    return Looked(since, wall_ms())


def model_is(id: str) -> Callable[[Snapshot], bool]:
    return lambda snapshot: snapshot.labels["model"] == id


def made_in(records: list[ShelfRecord], when: Looked) -> list[ShelfRecord]:
    """Shoppers' shelves that were made in that time."""
    return [record for record in records if record.shopper and when.since < record.shelf.made_at < when.until]


def seen_in(records: list[ShelfRecord], when: Looked) -> list[ShelfRecord]:
    """The same: enough of them."""
    made = made_in(records, when)
    assert len(made) > LOOKED // 4
    return made


STANDING_BY = {"LIVESHELF_MODEL__STANDBY_S": "3600", "LIVESHELF_MODEL__WATCH_S": "3600"}
"""With so long a watch, whatever happens at all happens because it was announced."""


@pytest.mark.parametrize("shop", [STANDING_BY], indirect=True)
def test_a_rollback_is_heard_whatever_was_promoted_and_all_shelves_are_its_own_then(
    shop: Shop, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = versions.first.id
    wanted: list[tuple[Looked, str]] = []
    with Visitors(shop).coming():
        for made in (versions.second, versions.encoder):
            command(shop, monkeypatch, models_promote, version=made.id)
            shop.seen(model_is(made.id))
            command(shop, monkeypatch, models_rollback)
            wanted.append((looked(shop, model_is(first)), head(versions, versions.first)))
        command(shop, monkeypatch, models_promote, version=versions.encoder.id)
        wanted.append((looked(shop, model_is(versions.encoder.id)), head(versions, versions.encoder)))
        shop.kill()
        shop.start()
        shop.seen(lambda snapshot: snapshot.gauges["catalogues"] == 2)
        command(shop, monkeypatch, models_rollback)
        wanted.append((looked(shop, model_is(first)), head(versions, versions.first)))
    shown = shop.published()
    for when, model in wanted:
        assert all(model in record.shelf.model for record in seen_in(shown, when))


NOTHING_YET = STANDING_BY | {"LIVESHELF_MODEL__HOLDBACK_SHARE": "0.2"}


@pytest.mark.parametrize("shop", [NOTHING_YET], indirect=True)
@pytest.mark.parametrize("versions", [False], indirect=True)
def test_from_nothing_to_a_challenger_a_champion_and_back(
    shop: Shop, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained, second = head(versions, None), head(versions, versions.second)
    with Visitors(shop).coming():
        assert roles(shop.ready()[-1]) == (PACKAGED, "", "")
        command(shop, monkeypatch, models_canary, version=versions.second.id, share=0.0)
        seen = shop.seen(lambda snapshot: snapshot.gauges["challenger_ready"] == 1)
        assert seen[-1].labels["challenger"] == versions.second.id and seen[-1].gauges["challenger_share"] == 0
        shop.seen(lambda snapshot: snapshot.counts.get("shadow.shelves", 0) > 0)
        shadow = Looked(0, wall_ms())
        command(shop, monkeypatch, models_canary, version=versions.second.id, share=0.5)
        canary = looked(shop, lambda snapshot: snapshot.gauges["challenger_share"] == 0.5)
        command(shop, monkeypatch, models_promote, version=versions.second.id)
        champion = looked(shop, model_is(versions.second.id))
        assert shop.seen(lambda _: True)[-1].labels["challenger"] == ""
        command(shop, monkeypatch, models_rollback)
        back = looked(shop, model_is(PACKAGED))
    made = shop.published()

    def arms(when: Looked) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for record in seen_in(made, when):
            known = next(one for one in (untrained, second) if one in record.shelf.model)
            found.setdefault(record.shelf.arm, set()).add(known)
        return found

    assert arms(shadow) == {"champion": {untrained}, "holdback": {untrained}}, "nobody sees a shadow"
    assert arms(canary) == {"champion": {untrained}, "canary": {second}, "holdback": {untrained}}
    assert arms(champion) == {"champion": {second}, "holdback": {untrained}}
    assert arms(back) == {"champion": {untrained}, "holdback": {untrained}}
    assert shop.counted("model.refused") == 0


def test_a_damaged_challenger_is_refused_and_the_champion_goes_on(shop: Shop, versions: Versions) -> None:
    file = Path(versions.url) / "versions" / versions.second.id / "head" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    versions.store.slots.promote(versions.second.id, "a mistake", "challenger", 0.5)
    until(lambda: shop.counted("model.refused") > 0, every_s=0.3)
    last = shop.seen(lambda snapshot: snapshot.labels["challenger"] == versions.second.id)[-1]
    assert last.labels["model"] == versions.first.id
    assert (last.gauges["challenger_ready"], last.gauges["challenger_share"]) == (0, 0)
    assert "i3" in found(shop, 3)


def test_what_cannot_be_read_is_tried_again_whatever_is_announced_meanwhile(
    shop: Shop, versions: Versions, tmp_path: Path
) -> None:
    def is_failing(made: Manifest | None, serves: Manifest) -> None:
        label = None if made is None else made.id
        shop.seen(lambda one: (one.labels["model"], one.labels.get("model_failing")) == (serves.id, label))

    first, second = versions.first, versions.second
    slots, folder = versions.store.slots, Path(versions.url) / "versions"
    third = stirred(versions.store, tmp_path / "third", 4, False)
    with Visitors(shop).coming():
        with unreadable(folder / third.id / "manifest.json"):
            slots.promote(third.id, "on trial", "challenger", 0.5)
            until(lambda: f"{third.id} cannot be read now" in shop.log().read_text(), every_s=0.3)
        shop.seen(lambda one: one.gauges["challenger_ready"] == 1 and one.labels["challenger"] == third.id)

        with unreadable(folder / second.id / "head" / "model.safetensors"):
            slots.promote(second.id, "better")
            is_failing(second, first)
            slots.rollback("clicks fell")
            is_failing(None, first)
            slots.promote(second.id, "better")
            is_failing(second, first)
            slots.promote(third.id, "better still")
            is_failing(None, third)
            slots.rollback("clicks fell")
            is_failing(second, third)
        is_failing(None, second)
    assert shop.counted("model.refused") == 0


def poisoned(versions: Versions, folder: Path, late: bool) -> Manifest:
    """Put a version of finite weights that overflows: at every input or, ``late``, at queries of more than four word
    pieces, which no check asks."""
    made = LateInteraction()
    with torch.no_grad():
        if late:
            made.learned[0].weight[0] = 0.0
            made.learned[0].weight[0, made.names.index("length")] = 1e38
            made.learned[0].bias[0] = -0.5e38
            made.learned[3].weight[0, 0] = 100.0
        else:
            made.bias[0] = 3e38
            made.scale.fill_(3e38)
    made.save(folder / "head")
    about = description(encoder=PACKAGED, encoder_fingerprint=fingerprint(resolve(PACKAGED)))
    return versions.store.put(folder, about)


def test_a_champion_whose_scores_are_no_numbers_leaves_nobody_without_a_shelf(
    shop: Shop, versions: Versions, tmp_path: Path
) -> None:
    def is_failing(made: Manifest, serves: Manifest) -> None:
        shop.seen(
            lambda one: (
                one.gauges["model_failing"] == 1
                and one.labels.get("model_failing") == made.id
                and one.labels["model"] == serves.id
            ),
        )

    always, late = poisoned(versions, tmp_path / "always", False), poisoned(versions, tmp_path / "late", True)
    long = {f"{title(number)} {title(number + 1)} spare part {number}" for number in range(60)}
    with Visitors(shop).coming():
        versions.store.slots.promote(always.id, "past all commands")
        is_failing(always, versions.first)

        versions.store.slots.promote(late.id, "past all commands")
        shop.seen(lambda one: one.labels["model"] == late.id and one.gauges["model_failing"] == 0)
        shop.produce(shop.topics.events, [search(query, f"l{query}", f"long {query}") for query in long])
        is_failing(late, versions.first)

    for query in long:
        assert shop.shelf(keys.feed(f"long {query}")) and shop.shelf(keys.search(query)), query
    assert not [letter for letter in shop.letters() if letter.reason == "internal"]
    assert shop.counted("shelves.empty") == 0
    assert shop.counted("model.failed") >= 6 and shop.counted("model.gave_way") == 1
    told = shop.log().read_text()
    assert told.count("fails at too many shelves") == 1 and "scores are not finite numbers" in told

    versions.store.slots.promote(versions.second.id, "a good one")
    last = shop.seen(lambda one: one.labels["model"] == versions.second.id)[-1]
    assert last.gauges["model_failing"] == 0 and "model_failing" not in last.labels
