"""Which edition a worker begins with, and what editions share."""

import dataclasses
from pathlib import Path

import pytest
import torch

from models.check import CheckError
from models.conventions import PRESETS
from models.late_interaction import HeadConfig, LateInteraction
from models.store import Data, Description, Manifest, ModelStore, StoreError
from models.store.slots import CHALLENGER
from models.training.query_encoder import Distillation
from models.training.towers import fresh_bert
from models.weights import PACKAGED, WeightsError, fingerprint, resolve
from streams.config import ModelConfig
from streams.serving.loaded_model import examine, fetch, load
from streams.serving.slots import UNTRAINED, SlotWatcher
from streams.serving.switcher import first
from tests.models.folders import xlm_roberta
from tests.models.store.conftest import unreadable


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    """Settings of a worker whose store is not there yet."""
    return ModelConfig(store=str(tmp_path / "models"), precision="float32")


def put(model: ModelConfig, folder: Path, notes: str = "", head: LateInteraction | None = None) -> Manifest:
    """A version with a head over the packaged encoder."""
    (head or LateInteraction()).save(folder / "head")
    return ModelStore(model.store).put(
        folder,
        Description(
            method="head",
            architecture="late_interaction",
            encoder=PACKAGED,
            encoder_fingerprint=fingerprint(resolve(PACKAGED)),
            data=Data("a test", 0),
            notes=notes,
        ),
    )


def test_without_a_champion_the_weights_of_the_settings_serve(model: ModelConfig, tmp_path: Path) -> None:
    loaded, slots = first(model)
    assert slots is not None and (loaded.version, loaded.name) == (UNTRAINED, PACKAGED)
    assert slots.changes.update(slots.read().champion) is False, "a slot that says nothing changes nothing"

    made = put(model, tmp_path / "one")
    store = ModelStore(model.store)
    store.slots.promote(made.id, "a test")
    assert slots.changes.update(slots.read().champion) and slots.read().before == (UNTRAINED,)
    assert first(model)[0].version == made.id
    store.slots.rollback("a test")
    assert slots.changes.update(slots.read().champion) and slots.changes.version == UNTRAINED
    store.storage.remove("slots/champion.json")
    assert slots.read().champion is None


def test_a_preset_reads_by_its_conventions_from_the_folder_that_holds_it(model: ModelConfig, tmp_path: Path) -> None:
    assert ModelConfig(preset="multilingual").weights == "intfloat/multilingual-e5-small"
    folder = xlm_roberta(tmp_path / "xlm")
    named = ModelConfig(preset="multilingual", weights=str(folder), store=model.store, precision="float32")
    said = dataclasses.replace(PRESETS["multilingual"].conventions, query_prefix="ask: ")
    own = named.model_copy(update={"query_prefix": "ask: "})
    loaded = load(fetch(UNTRAINED, own), own)
    assert loaded.encoder.conventions == said

    # A version that says its conventions keeps them whatever the settings say, and shares the encoder that has them.
    LateInteraction(HeadConfig(dim=32, token_dim=32)).save(tmp_path / "one" / "head")
    about = Description(
        method="head",
        architecture="late_interaction",
        encoder=str(folder),
        encoder_fingerprint=fingerprint(folder),
        conventions=loaded.encoder.conventions,
        data=Data("a test", 0),
    )
    made = ModelStore(model.store).put(tmp_path / "one", about)
    assert ModelStore(model.store).manifest(made.id).conventions == loaded.encoder.conventions
    plain = ModelConfig(weights=str(folder), store=model.store, precision="float32")
    again = load(fetch(made.id, plain), plain, [loaded])
    assert again.encoder is loaded.encoder and again.catalogue is loaded.catalogue
    other = load(fetch(UNTRAINED, plain), plain, [loaded])
    assert other.encoder is not loaded.encoder and other.encoder.version != loaded.encoder.version


@pytest.mark.parametrize("version", [None, ""])
def test_settings_can_do_without_a_store_for_good(model: ModelConfig, version: str | None) -> None:
    loaded, slots = first(model.model_copy(update={"version": version}))
    assert slots is None and loaded.version == UNTRAINED


def test_what_cannot_be_loaded_leaves_the_place_to_what_was_before(model: ModelConfig, tmp_path: Path) -> None:
    versions = [put(model, tmp_path / name, name) for name in ("one", "two")]
    store = ModelStore(model.store)
    for made in versions:
        store.slots.promote(made.id, "a test")
    for made, left in zip(reversed(versions), (versions[0].id, UNTRAINED), strict=True):
        file = Path(model.store) / "versions" / made.id / "head" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        loaded, slots = first(model)
        assert loaded.version == left
        assert slots is not None and not slots.changes.update(slots.read().champion), "it is not tried again"
    with pytest.raises(StoreError, match="called champoin"):
        first(model.model_copy(update={"version": "champoin"}))
    with pytest.raises(StoreError, match=r"model\.safetensors"):
        first(model.model_copy(update={"version": versions[0].id}))


def test_what_cannot_be_read_now_leaves_its_place_for_a_while_only(model: ModelConfig, tmp_path: Path) -> None:
    versions = [put(model, tmp_path / name, name) for name in ("one", "two")]
    store = ModelStore(model.store)
    for made in versions:
        store.slots.promote(made.id, "a test")
    with unreadable(Path(model.store) / "versions" / versions[1].id / "manifest.json"):
        loaded, slots = first(model)
    assert loaded.version == versions[0].id
    assert slots is not None and slots.changes.update(slots.read().champion), "it is tried again"


def test_the_champion_is_nobodys_challenger(model: ModelConfig, tmp_path: Path) -> None:
    made = put(model, tmp_path / "one")
    store = ModelStore(model.store)
    store.slots.promote(made.id, "a test", CHALLENGER, 0.25)
    slots = SlotWatcher(store, "champion")
    challenger = slots.read().challenger
    assert challenger is not None and (challenger.version, challenger.share) == (made.id, 0.25)
    store.slots.promote(made.id, "a test")
    assert slots.read().challenger is None
    assert SlotWatcher(store, CHALLENGER).read().challenger is None, "a worker of the challenger alone tries no other"


def test_editions_share_an_encoder_its_items_and_its_queries(model: ModelConfig, tmp_path: Path) -> None:
    untrained = load(fetch(UNTRAINED, model), model)
    made = load(fetch(put(model, tmp_path / "one").id, model), model, [untrained])
    assert made.encoder is untrained.encoder and made.catalogue is untrained.catalogue
    assert made.queries is untrained.queries and made.scorer is not untrained.scorer


def test_versions_share_a_smaller_encoder_of_queries_that_an_update_of_the_head_copied(
    model: ModelConfig, tmp_path: Path
) -> None:
    loaded = []
    for number, last in enumerate((5, 5, 4)):
        student = Distillation(fresh_bert(PACKAGED), [0, last]).student
        student.save_pretrained(tmp_path / f"{number}" / "query_encoder")
        made = put(model, tmp_path / f"{number}", notes=f"{number}")
        loaded.append(load(fetch(made.id, model), model, loaded))
    one, again, other = loaded
    assert again.parts.adapter != one.parts.adapter
    assert again.encoder is one.encoder and again.queries is one.queries
    assert other.encoder is not one.encoder and other.queries is not one.queries
    assert other.catalogue is one.catalogue, "items are encoded alike"


def spoiled(how: str) -> LateInteraction:
    """A head whose weights are numbers, and whose scores are not fit to serve."""
    head = LateInteraction()
    with torch.no_grad():
        match how:
            case "overflows":
                head.bias[0] = 3e38
                head.scale.fill_(3e38)
            case "alike":
                head.scale.zero_()
            case "never":
                head.bias[3] = 40.0
    return head


@pytest.mark.parametrize(("how", "why"), [("overflows", "not finite"), ("alike", "the same score")])
def test_a_version_that_fails_a_check_never_becomes_an_edition(
    model: ModelConfig, tmp_path: Path, how: str, why: str
) -> None:
    good, bad = put(model, tmp_path / "good"), put(model, tmp_path / "bad", head=spoiled(how))
    with pytest.raises(CheckError, match=why):
        load(fetch(bad.id, model), model)
    with pytest.raises(StoreError, match=f"{bad.id} is refused.*{why}"):
        examine(bad.id, model, good.id)
    store = ModelStore(model.store)
    for made in (good, bad):
        store.slots.promote(made.id, "pushed past all commands")
    assert first(model)[0].version == good.id
    examine(good.id, model, bad.id)  # what cannot be loaded is nothing to compare with


def test_a_version_far_from_the_one_before_is_refused(model: ModelConfig, tmp_path: Path) -> None:
    good, far = put(model, tmp_path / "good"), put(model, tmp_path / "far", head=spoiled("never"))
    examine(far.id, model)
    with pytest.raises(StoreError, match="times less likely than the version before"):
        examine(far.id, model, good.id)


def test_weights_that_are_no_numbers_are_found_when_put_and_when_loaded(model: ModelConfig, tmp_path: Path) -> None:
    head = LateInteraction()
    with torch.no_grad():
        head.learned[0].weight[3, 5] = torch.nan
    with pytest.raises(StoreError, match=r"model\.safetensors holds weights that are not finite.*learned\.0\.weight"):
        put(model, tmp_path / "bad", head=head)
    assert ModelStore(model.store).ids() == []
    chosen = fetch(UNTRAINED, model)
    with pytest.raises(WeightsError, match="not finite"):
        load(dataclasses.replace(chosen, head=tmp_path / "bad" / "head"), model)
