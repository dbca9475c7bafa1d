"""The data card as a page of its own: no script, nothing from elsewhere.

Knows the card and its template; nothing of data.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

from evaluator.preparation.card import Card, Column

WIDTH, HEIGHT = 260, 60
"""Of a histogram, in its own units."""


def page(card: Card) -> str:
    """The page; all that comes from the data is escaped."""
    kept_back = [one for one in card.checks if not one.passed]
    moved = [one for one in card.drift if one.verdict == "strong"]
    return _template().render(card=card, broken=kept_back, moved=moved, bars=bars, width=WIDTH, height=HEIGHT)


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("card.html")


def bars(column: Column) -> list[tuple[int, str, float, float, float, float]]:
    """The bars of a column's histogram: split, title, left, top, width and height, shares of each split side by side.

    Examples
    --------
    >>> column = Column(name="a", of="values", missing={}, labels=["x", "y"], counts={"train": [3, 1], "test": [0, 2]})
    >>> [(split, title) for split, title, *_ in bars(column)]
    [(0, 'x: 75.0 % of train'), (1, 'x: 0.0 % of test'), (0, 'y: 25.0 % of train'), (1, 'y: 100.0 % of test')]
    """
    shares = {split: [rows / max(1, sum(counts)) for rows in counts] for split, counts in column.counts.items()}
    top = max((share for some in shares.values() for share in some), default=0.0) or 1.0
    step = WIDTH / max(1, len(column.labels))
    width = step * 0.9 / max(1, len(shares))
    found = []
    for place, label in enumerate(column.labels):
        for number, (split, some) in enumerate(shares.items()):
            height = HEIGHT * some[place] / top
            title = f"{label}: {some[place]:.1%} of {split}".replace("%", " %", 1)
            found.append((number, title, place * step + number * width, HEIGHT - height, width, height))
    return found
