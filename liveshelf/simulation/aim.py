"""What a shopper is after on the page they look at, and the words in which they ask for it. Pure values."""

from dataclasses import dataclass

from liveshelf.simulation.likeness import words
from streams.events.schema import Item

PULL = 0.3
"""How much of one's own taste there is in the liking of things that are looked for."""

BRANDED = 0.2
"""Share of searches that name the brand."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A page and what is wanted of it: the start page, by taste; results for a query; things like one just opened.

    ``about`` is the thing in mind, which the words of the query say only in part: the latent intent.
    """

    surface: str = "feed"
    query: str = ""
    about: str | None = None


FEED = Aim()


def asked(item: Item, length: float, brand: float) -> Aim:
    """A search for a thing: two or three of its words, at times its brand; both by a chance in [0, 1).

    Examples
    --------
    >>> kettle = Item(item_id="a", title="Steel kettle with stand", brand="Orbo")
    >>> asked(kettle, length=0.5, brand=0.5).query, asked(kettle, length=0.9, brand=0.1).query
    ('steel kettle', 'orbo steel kettle stand')
    """
    said = words(item.brand, item.title)[: 2 if length < 2 / 3 else 3]
    named = [item.brand.lower(), *said] if item.brand and brand < BRANDED else said
    return Aim("search", " ".join(named), item.item_id)
