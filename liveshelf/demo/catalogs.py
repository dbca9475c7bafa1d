"""Catalogues for the demo: one made up by a small grammar, or the first items of the real one where it is at hand.

Knows items only; nothing of Kafka or of who will buy them. The brands of the made-up one are made up as well.
"""

import itertools
from pathlib import Path
from random import Random
from typing import NamedTuple

from streams.clock import wall_ms
from streams.config import EventsConfig
from streams.events.adapters import files
from streams.events.adapters.mapping import load as load_mapping
from streams.events.adapters.source import Source
from streams.events.schema import Item

ICECAT = Path("icecat_electronics") / "products.jsonl.xz"


class Kind(NamedTuple):
    """A category: who makes such things, what they are, what sets them apart, and what they cost."""

    category: str
    brands: str
    things: str
    traits: tuple[str, ...]
    price: tuple[int, int]


KINDS = (
    Kind(
        "Headphones",
        "Auralis, Bassline, Nightjar",
        "over-ear headphones, in-ear headphones, sports earbuds, gaming headset, studio headphones",
        ("wireless, wired, noise cancelling", "black, white, sand", "30 h battery, with microphone, foldable"),
        (19, 349),
    ),
    Kind(
        "Laptops",
        "Corvid, Lumen, Tessel",
        "ultrabook laptop, gaming laptop, convertible laptop, business laptop",
        ("13 inch, 14 inch, 16 inch", "8 GB memory, 16 GB memory, 32 GB memory", "256 GB SSD, 512 GB SSD, 1 TB SSD"),
        (399, 2499),
    ),
    Kind(
        "Cables and adapters",
        "Plainwire, Tessel, Patchwork",
        "HDMI cable, USB-C charging cable, network cable, display adapter, extension lead",
        ("0.5 m, 1 m, 2 m, 5 m", "braided, flat, shielded", "black, white, grey"),
        (4, 39),
    ),
    Kind(
        "Cameras",
        "Fernlicht, Ocular, Nightjar",
        "mirrorless camera, compact camera, action camera, zoom lens, camera tripod",
        ("full frame, lightweight, waterproof", "with bag, with strap, kit", "black, silver"),
        (39, 1899),
    ),
    Kind(
        "Kitchen",
        "Orbo, Hearthside, Brume",
        "electric kettle, espresso machine, stand mixer, toaster, cast iron pan, knife set",
        ("stainless steel, enamelled, matt", "compact, family size, professional", "red, black, cream"),
        (24, 599),
    ),
    Kind(
        "Outdoor",
        "Norvik, Highfell, Tarn",
        "hiking backpack, two person tent, down sleeping bag, camping stove, trekking poles",
        ("ultralight, four season, waterproof", "olive, orange, slate", "for beginners, for expeditions"),
        (29, 489),
    ),
    Kind(
        "Running",
        "Swiftly, Tarn, Pacer",
        "trail running shoes, road running shoes, running jacket, running tights, running belt",
        ("for women, for men", "cushioned, breathable, reflective", "blue, black, coral"),
        (19, 189),
    ),
    Kind(
        "Garden",
        "Greenhand, Rootwell, Hearthside",
        "garden hose, cordless hedge trimmer, pruning shears, raised bed, lawn mower, watering can",
        ("lightweight, heavy duty, ergonomic", "green, anthracite, galvanised", "with holder, with spare blade"),
        (9, 449),
    ),
    Kind(
        "Toys",
        "Wimble, Kitefox, Puddle",
        "wooden train set, building blocks, board game, plush bear, science kit, jigsaw puzzle",
        (
            "from age 3, from age 6, from age 10",
            "classic, deluxe, travel size",
            "100 pieces, gift box",
        ),
        (8, 99),
    ),
    Kind(
        "Office",
        "Deskwell, Plainwire, Inkstone",
        "office chair, standing desk, laser printer, toner cartridge, notebook paper, desk lamp",
        ("adjustable, high yield, recycled", "black, white, oak", "small, large, value pack"),
        (5, 699),
    ),
    Kind(
        "Cycling",
        "Spokes, Highfell, Velour",
        "city bike, bike helmet, bike lock, bike light set, pannier bag, cycling gloves",
        ("with reflectors, lightweight, rechargeable", "black, yellow, teal", "size S, size M, size L"),
        (12, 999),
    ),
    Kind(
        "Bath and care",
        "Brume, Softwater, Petalis",
        "electric toothbrush, hair dryer, beard trimmer, bath towel, shower head, body lotion",
        ("travel size, sensitive, quick dry", "white, rose, charcoal", "set of two, with case"),
        (6, 199),
    ),
)


def made_up(seed: int, n: int = 600) -> list[Item]:
    """A shop's catalogue that nobody sells, ``n`` distinct items evenly over `KINDS`; the same for the same seed.

    Raises
    ------
    ValueError
        When the grammar has not so many different items.

    Examples
    --------
    >>> shop = made_up(seed=1, n=24)
    >>> len({item.title for item in shop}), shop[0].category
    (24, 'Headphones')
    """
    each = -(-n // len(KINDS))
    rows = [_of_kind(kind, Random(f"{seed}:{kind.category}"), each) for kind in KINDS]
    return list(itertools.chain.from_iterable(rows))[:n]


def _of_kind(kind: Kind, random: Random, count: int) -> list[Item]:
    titles = list(itertools.product(*(text.split(", ") for text in (kind.brands, kind.things, *kind.traits))))
    low, high = kind.price
    items = []
    for number, (brand, thing, *traits) in enumerate(random.sample(titles, count), 1):
        price = round(low * (high / low) ** random.random()) - 0.01
        items.append(
            Item(
                item_id=f"{kind.category.lower().replace(' ', '-')}-{number}",
                title=f"{brand} {thing}, {', '.join(traits)}",
                description=f"{thing.capitalize()} by {brand}: {' and '.join(traits)}.",
                category=kind.category,
                brand=brand,
                price=price,
                currency="EUR",
            )
        )
    return items


def icecat(folder: Path, n: int = 1500) -> list[Item]:
    """The first items of the Icecat Open Content catalogue in a data folder.

    Raises
    ------
    OSError
        When the file is not there or cannot be read.
    """
    mapping = load_mapping("icecat")
    with Source(folder / ICECAT) as source:
        entries = files.read(source, "items", mapping, wall_ms(), EventsConfig())
        found = (entry.outcome for entry in entries if isinstance(entry.outcome, Item))
        return list(itertools.islice(found, n))
