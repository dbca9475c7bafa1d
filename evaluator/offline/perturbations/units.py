"""Measures written in another way: ``1.5 l`` as ``1.5l``, as ``1.5 liter`` or as ``1500 ml``.

Pure.
"""

import re
from typing import NamedTuple

from evaluator.offline.perturbations.perturbation import Change, QueryPerturbation


class Unit(NamedTuple):
    """How a unit is written, and how many of another unit one of it is."""

    names: tuple[str, ...]
    times: float = 1.0
    other: str = ""


UNITS = (
    Unit(("in", "inch", "inches", '"'), 2.54, "cm"),
    Unit(("ft", "foot", "feet", "'"), 12, "in"),
    Unit(("yd", "yard", "yards"), 3, "ft"),
    Unit(("mm", "millimeter", "millimeters", "millimetre"), 0.1, "cm"),
    Unit(("cm", "centimeter", "centimeters", "centimetre"), 10, "mm"),
    Unit(("m", "meter", "meters", "metre", "metres"), 100, "cm"),
    Unit(("ml", "milliliter", "millilitre"), 0.001, "l"),
    Unit(("l", "liter", "liters", "litre", "litres"), 1000, "ml"),
    Unit(("gal", "gallon", "gallons"), 4, "qt"),
    Unit(("qt", "quart", "quarts"), 0.25, "gal"),
    Unit(("oz", "ounce", "ounces"), 0.0625, "lb"),
    Unit(("lb", "lbs", "pound", "pounds"), 16, "oz"),
    Unit(("g", "gram", "grams"), 0.001, "kg"),
    Unit(("kg", "kilogram", "kilograms", "kilo"), 1000, "g"),
    Unit(("w", "watt", "watts"), 0.001, "kw"),
    Unit(("kw", "kilowatt", "kilowatts"), 1000, "w"),
    Unit(("v", "volt", "volts")),
    Unit(("amp", "amps", "ampere")),
    Unit(("gb", "gigabyte", "gigabytes"), 0.001, "tb"),
    Unit(("tb", "terabyte", "terabytes"), 1000, "gb"),
)

BY_NAME = {name: unit for unit in UNITS for name in unit.names}
NAMES = "|".join(re.escape(name) for name in sorted(BY_NAME, key=len, reverse=True))
MEASURE = re.compile(rf"(?<![\w.])(\d+(?:\.\d+)?)([\s-]*)({NAMES})(?!\w)", re.IGNORECASE)


def measured(change: Change) -> str:
    """All measures in another way: spaced otherwise, the unit by another name, or in another unit.

    Examples
    --------
    >>> import random
    >>> [measured(Change("kettle 1.5 l", strength, random.Random(0))) for strength in (1, 2, 3)]
    ['kettle 1.5l', 'kettle 1.5 liter', 'kettle 1500 ml']
    >>> [measured(Change('12" pipe', strength, random.Random(0))) for strength in (1, 2, 3)]
    ['12 in pipe', '12 inch pipe', '30.48 cm pipe']
    """

    def instead(found: re.Match[str]) -> str:
        number, gap, name = found.groups()
        unit = BY_NAME[name.casefold()]
        if change.strength == 3 and unit.other:
            return f"{float(number) * unit.times:g} {unit.other}"
        if change.strength >= 2:
            return f"{number} {unit.names[1] if name.casefold() != unit.names[1] else unit.names[0]}"
        if not name.isalpha():
            return f"{number} {unit.names[0]}"
        return f"{number}{name}" if gap else f"{number} {name}"

    return MEASURE.sub(instead, change.text)


PERTURBATIONS = (
    QueryPerturbation("units", measured, "Measures are spaced otherwise, their unit has another name, or is another."),
)
