"""A trainer's held-out slice as one file: all that its gate needs beside the two versions, so that it can be run again.

Values only.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from evaluator.gate.config import GateConfig
from models.scorer import Floats, utility
from models.training.examples import Example
from models.training.served_feeds import ServedFeed

FILE = "held_out.json"


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Examples that neither version was trained or calibrated on.

    Attributes
    ----------
    examples
        Sorted by time.
    brands
        By items' texts.
    intent_weights
        The shop's worth of each intent, by which its shelves are ranked.
    config
        The gate's settings, as JSON.
    champion
        The version that the challenger was compared with; None for a first model.
    feeds
        Feeds in which something was touched, by time.
    """

    examples: list[Example]
    brands: dict[str, str]
    intent_weights: dict[str, float]
    config: dict[str, Any]
    champion: str | None
    feeds: list[ServedFeed] = []

    @property
    def worth(self) -> Callable[[Floats], Floats]:
        """Maps probabilities to the values that items are ranked by."""
        return partial(utility, weights=self.intent_weights)

    @property
    def settings(self) -> GateConfig:
        """How the gate measured."""
        return GateConfig.model_validate(self.config | {"file": None})


def read(path: Path) -> HeldOut:
    """The slice that a trainer has left.

    Raises
    ------
    ValueError
        When it cannot be read, or is another file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=HeldOut)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no held-out slice of a trainer: {error}.") from error
