"""A trained version in front of shoppers: trained, stored, promoted, served."""

from pathlib import Path

import pytest
from rich.console import Console

from liveshelf.settings import Settings
from liveshelf.training.run import Source, run_train
from models.conventions import PRESETS
from models.encoder import Encoder
from models.late_interaction import LateInteraction
from models.store import Manifest, ModelStore
from models.store.parts import parts
from models.training.config import TrainConfig
from streams.config import KafkaConfig, ModelConfig, TopicsConfig
from streams.redis import keys
from tests.integration.test_worker import ITEMS, item, search
from tests.models.folders import xlm_roberta
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

EXAMPLES = "".join(
    f'{{"query": "{one} {two}", "item": "{one} {other} 1", "intent": "{"buy" if two == other else "ignore"}"}}\n'
    for one in ("red", "blue", "usb")
    for two in ("cable", "hub", "mouse", "pad")
    for other in ("cable", "hub")
)


@pytest.mark.parametrize("method", ["head", "adapter"])
def test_a_worker_serves_the_champion(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path, method: str
) -> None:
    url = str(tmp_path / "models")
    made = trained(tmp_path, url, method)
    store = ModelStore(url)
    store.slots.promote(made.id, "a test")
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.env |= {"LIVESHELF_MODEL__STORE": url, "LIVESHELF_MODEL__VERSION": "champion"}
        shop.put_items(ITEMS)
        shop.start()
        shop.ready(len(ITEMS))
        shop.produce(shop.topics.events, [search("red hub", "s1")])
        shelf = until(lambda: shop.shelf(keys.search("red hub")))
    folder = parts(store, "champion").head
    assert folder is not None
    assert LateInteraction.load(folder).fingerprint() in shelf.model
    assert ("+" in shelf.model) == (method == "adapter")
    assert shelf.items


def test_a_worker_finds_by_words_of_another_script(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    folder = xlm_roberta(tmp_path / "xlm")
    titles = {"milk": "儿童牛奶 1升", "shoe": "女鞋 红", "hose": "red garden hose", "phone": "无线耳机"}
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        # Its weights are random, so that nothing can be found by meaning.
        shop.env |= {"LIVESHELF_MODEL__PRESET": "multilingual", "LIVESHELF_MODEL__WEIGHTS": str(folder)}
        shop.env |= {"LIVESHELF_CANDIDATES__VECTOR": "0", "LIVESHELF_CANDIDATES__TOTAL": "1"}
        shop.put_items({item_id: item(item_id, title) for item_id, title in titles.items()})
        shop.start()
        shop.ready(len(titles))
        shop.produce(shop.topics.events, [search("兒童 牛奶", "s1")])
        shelf = until(lambda: shop.shelf(keys.search("兒童 牛奶")))
    assert Encoder(str(folder), said=PRESETS["multilingual"].conventions).query_version in shelf.model
    assert [found.item_id for found in shelf.items] == ["milk"]


def trained(folder: Path, url: str, method: str) -> Manifest:
    """A version trained on a few words."""
    file = folder / "examples.jsonl"
    file.write_text(EXAMPLES)
    settings = Settings(model=ModelConfig(store=url))
    config = TrainConfig(method=method, epochs=1, contexts=4, folder=folder / "runs", report_to=(), progress=False)  # type: ignore[arg-type]
    return run_train(settings, Source(file), config, console=Console(quiet=True))
