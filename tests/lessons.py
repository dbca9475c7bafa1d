"""A shop whose shoppers have a taste that an untrained model does not know: its items, encoded, and what they did."""

import random
from collections.abc import Sequence

from evaluator.attribution.example import LabelledExample
from models.encoder import Encoder
from streams.catalog.embedding import Embedding, Origin, encoder, key, text
from streams.events.schema import Item
from tests.shop import Shop

COLOURS = ("red", "blue", "green", "black", "white", "yellow", "grey", "brown")
THINGS = ("hose", "lamp", "chair", "kettle", "jacket", "tent", "drill", "pan", "mirror", "rug", "clock", "bag", "desk")
USES = ("best", "cheap", "good", "modern", "classic", "stable", "fine", "simple", "robust", "nice", "solid", "fresh")
SIZES = ("small", "large", "light", "heavy", "plain", "new")
LIKED = frozenset({"red", "green"})


def items(count: int) -> list[Item]:
    """Items in all colours and, one after the other, sizes; at most 624."""
    kinds = [(colour, thing) for thing in THINGS for colour in COLOURS]
    made = (kinds[number % len(kinds)] for number in range(count))
    return [
        Item(item_id=f"i{number}", title=f"{SIZES[number // len(kinds)]} {colour} {thing}", brand=f"Brand{number % 7}")
        for number, (colour, thing) in enumerate(made)
    ]


def put(shop: Shop, some: Sequence[Item], model: Encoder) -> None:
    """Items as a worker puts them on the topic of embeddings."""
    for item, encoded in zip(some, model.encode_items([*map(text, some)]), strict=True):
        record = Embedding.of(item, model.version, encoded)
        shop.producer.send(
            shop.topics.embeddings,
            key=key(item.item_id, model.version),
            value=encoder.encode(record),
            headers=[Origin(0, 0).header()],
        )
    shop.producer.flush()


def views(some: Sequence[Item], count: int, start: int, seed: int = 1) -> list[LabelledExample]:
    """Views of six items each for a query, a second apart: what has a liked colour is clicked more often."""
    chance, found = random.Random(seed), list[LabelledExample]()
    for number in range(count):
        thing = chance.choice(THINGS)
        query = " ".join([*chance.sample(USES, 2), thing])
        for place, item in enumerate(chance.sample([one for one in some if thing in one.title], 6)):
            clicked = chance.random() < (0.7 if item.title.split()[1] in LIKED else 0.05)
            found.append(
                LabelledExample(
                    id=f"{seed}-{number}-{place}",
                    ts=start + number * 1_000,
                    shopper=f"u{number % 97}",
                    item_id=item.item_id,
                    shelf_id=f"s{number}",
                    surface="search",
                    position=place,
                    intent=chance.choice(["look", "look", "buy"]) if clicked else "ignore",
                    query=query,
                    arm="champion",
                )
            )
    return found
