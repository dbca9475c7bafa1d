"""Examples as the tests need them."""

import hashlib

import msgspec

from evaluator.attribution.example import LabelledExample
from evaluator.retraining.config import ExamplesConfig

HOUR_MS = 3_600_000
NOW = 1_764_129_600_000
"""Begins an hour."""

FIRST = NOW - 10 * HOUR_MS


def example(number: int, ts: int = 0, shopper: str = "u", shelf_id: str = "s") -> LabelledExample:
    """An example that is its number's own; half of them have all fields."""
    name = hashlib.blake2b(str(number).encode(), digest_size=12).hexdigest()
    made = LabelledExample(
        id=name,
        ts=FIRST + ts,
        shopper=shopper,
        item_id=f"item {number}",
        shelf_id=shelf_id,
        surface="feed",
        position=number % 7,
        intent=("ignore", "look", "read", "buy")[number % 4],
    )
    if number % 2:
        return made
    return msgspec.structs.replace(
        made, value=number / 3, query=f"水管 {number}", history=["a b", "ü"], model="m", arm="b", propensity=0.1
    )


def config(folder: object, **changes: object) -> ExamplesConfig:
    """Settings for a folder of a test."""
    return ExamplesConfig.model_validate({"folder": str(folder), "rehearsal": 20, **changes})
