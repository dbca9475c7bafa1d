"""A trained version in front of shoppers: trained, stored, promoted, served."""

from pathlib import Path

import pytest
from rich.console import Console

from liveshelf.settings import Settings
from liveshelf.training.run import Source, run_train
from models.late_interaction import LateInteraction
from models.store import Manifest, ModelStore
from models.store.parts import parts
from models.training.config import TrainConfig
from streams.config import KafkaConfig, ModelConfig, TopicsConfig
from streams.redis import keys
from tests.integration.test_worker import ITEMS, search
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


def trained(folder: Path, url: str, method: str) -> Manifest:
    """A version trained on a few words."""
    file = folder / "examples.jsonl"
    file.write_text(EXAMPLES)
    settings = Settings(model=ModelConfig(store=url))
    config = TrainConfig(method=method, epochs=1, contexts=4, folder=folder / "runs", report_to=(), progress=False)  # type: ignore[arg-type]
    return run_train(settings, Source(file), config, console=Console(quiet=True))
