"""A catalogue to play with, made of words: no shop's data, the same for the same seed."""

from collections.abc import Iterator
from random import Random

from streams.events import Item

BRANDS = ("Arvo", "Belmont", "Cirrus", "Dovetail", "Emberly", "Fjord", "Garrick", "Halden")
COLOURS = ("black", "white", "blue", "red", "green", "silver")
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Cables": (("HDMI cable", "USB-C cable", "network cable", "audio cable"), ("1 m", "2 m", "5 m", "braided")),
    "Headphones": (("wireless headphones", "earbuds", "gaming headset"), ("noise cancelling", "foldable", "sport")),
    "Laptops": (("notebook", "ultrabook", "2-in-1 laptop"), ("14 inch 8 GB", "15 inch 16 GB", "13 inch 32 GB")),
    "Printers": (("laser printer", "inkjet printer", "label printer"), ("duplex", "colour", "A3")),
    "Toner": (("toner cartridge", "ink cartridge", "drum unit"), ("black", "cyan", "high yield")),
    "Kitchen": (("espresso machine", "kettle", "toaster", "blender"), ("1.7 l", "stainless steel", "compact")),
    "Garden": (("garden hose", "pruning shears", "lawn mower"), ("20 m", "cordless", "ergonomic")),
    "Shoes": (("running shoes", "hiking boots", "sandals"), ("waterproof", "lightweight", "wide fit")),
    "Bags": (("backpack", "laptop bag", "travel trolley"), ("30 l", "15 inch", "cabin size")),
    "Lamps": (("desk lamp", "floor lamp", "LED bulb"), ("dimmable", "warm white", "smart")),
    "Toys": (("building blocks", "puzzle", "remote control car"), ("500 pieces", "wooden", "for ages 6 and up")),
    "Tools": (("cordless drill", "screwdriver set", "tape measure"), ("18 V", "40 pieces", "5 m")),
}


def catalogue(count: int = 600, seed: int = 1) -> Iterator[Item]:
    """Made-up items over twelve categories.

    Examples
    --------
    >>> items = list(catalogue(3))
    >>> len({item.item_id for item in items}), items == list(catalogue(3))
    (3, True)
    """
    chance = Random(seed)
    for number in range(count):
        category = chance.choice(sorted(KINDS))
        things, traits = KINDS[category]
        brand, thing, trait = chance.choice(BRANDS), chance.choice(things), chance.choice(traits)
        yield Item(
            item_id=f"item-{number}",
            title=f"{brand} {thing} {trait} {chance.choice(COLOURS)} {chance.randint(100, 999)}",
            brand=brand,
            category=category,
            price=round(5 + chance.random() * 400, 2),
            currency="EUR",
        )
