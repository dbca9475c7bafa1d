"""How far down a shelf people look: the position-based model. Pure: a place in, a probability out.

Richardson, Dominowska and Ragno (2007): what is clicked was looked at and attractive, and whether it was looked at
depends on its place alone. The power law is the one of Joachims, Swaminathan and Schnabel (2017).
"""

PAGE = 10
"""Items of a shelf that fit on the screen."""

SEVERITY = 0.6

EXAMINED: tuple[float, ...] = tuple((place + 1) ** -SEVERITY for place in range(PAGE))
"""Probability that a place is looked at, from the top of the screen down."""


def total(places: int) -> float:
    """Expected number of places looked at, of the first so many.

    Examples
    --------
    >>> total(1), round(total(PAGE), 2)
    (1.0, 4.45)
    """
    return sum(EXAMINED[:places])
