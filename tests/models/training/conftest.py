"""A shop of few words, for runs that take a second."""

import itertools
from collections.abc import Sequence

import pytest

from models.training.examples import Example

THINGS = ("hose", "lamp", "drill", "chair", "kettle", "ladder", "fan", "rug")
COLOURS = ("red", "blue", "green", "black")


@pytest.fixture(scope="session")
def examples() -> Sequence[Example]:
    """Every coloured thing asked for: it is bought, another of its colour ignored, its like in another colour graded.
    Every other context has a history as well."""
    found = []
    for number, (thing, colour) in enumerate(itertools.product(THINGS, COLOURS)):
        other, shade = THINGS[(number + 3) % len(THINGS)], COLOURS[(number + 1) % len(COLOURS)]
        query, history = f"{colour} {thing}", (f"{other} in {colour}", f"{thing} stand") if number % 2 else ()
        found += [
            Example(query=query, history=history, item=f"{thing} in {colour}", intent="buy", position=0),
            Example(query=query, history=history, item=f"{other} in {colour}", intent="ignore", position=1),
            Example(query=query, history=history, item=f"{thing} in {shade}", grade=0.5, position=2),
        ]
    found.append(Example(history=("rug in red",), item="rug in blue", intent="look"))
    return found
