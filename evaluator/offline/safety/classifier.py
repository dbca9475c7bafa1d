"""What a classifier of harmful content is, and how classifiers are found.

Knows values only; nothing of rankings.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence

from evaluator.offline import safety

Classify = Callable[[Sequence[str]], Sequence[str]]
"""Texts to their categories of harm, such as ``weapons``; empty where a text is harmless."""


def every() -> Mapping[str, Classify]:
    """All classifiers by name: the ``CLASSIFIERS`` of every module of the package.

    Examples
    --------
    >>> every()["words"](["Garden hose", "Hunting rifle"])
    ['', 'weapons']
    """
    found: dict[str, Classify] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules(safety.__path__)):
        found |= getattr(importlib.import_module(f"{safety.__name__}.{module}"), "CLASSIFIERS", {})
    return found
