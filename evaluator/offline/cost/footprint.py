"""Bytes that a contender holds: parameters of its models, and arrays of its index.

Walks through its attributes; knows torch modules, arrays, and whatever tells its ``nbytes``. Python's own objects, such
as dictionaries of numbers, are not counted.
"""

import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluator.offline.data import EvaluationData

if TYPE_CHECKING:
    import torch

DEPTH = 10

LEAVES = (str, bytes, int, float, complex, bool, type(None), type, EvaluationData)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of models and of everything else that is held in arrays."""

    models: int
    arrays: int


def footprint(one: object) -> Footprint:
    """What an object holds, each array once.

    Examples
    --------
    >>> import torch
    >>> class Contender:
    ...     model, index = None, None
    >>> one = Contender()
    >>> one.model, one.index = torch.nn.Linear(4, 2), {"a": torch.zeros(8), "b": [torch.zeros(8)]}
    >>> footprint(one)
    Footprint(models=40, arrays=64)
    """
    seen: set[int] = set()
    model, index = _walk(one, seen, 0)
    return Footprint(model, index)


def _walk(one: object, seen: set[int], depth: int) -> tuple[int, int]:
    if depth > DEPTH or isinstance(one, LEAVES) or (callable(one) and not hasattr(one, "__dict__")) or id(one) in seen:
        return 0, 0
    seen.add(id(one))
    torch = sys.modules.get("torch")  # not loaded where no contender uses it
    if torch is not None and isinstance(one, torch.nn.Module):
        return sum(_tensors(module, seen) for module in one.modules()), 0
    size = getattr(one, "nbytes", None)
    if isinstance(size, int):
        return 0, size
    if callable(text := getattr(one, "model_to_string", None)):  # LightGBM's trees
        return len(text()), 0
    model = index = 0
    for part in _parts(one):
        found = _walk(part, seen, depth + 1)
        model, index = model + found[0], index + found[1]
    return model, index


def _tensors(module: "torch.nn.Module", seen: set[int]) -> int:
    """Parameters and buffers, and tensors that a module keeps as plain attributes, such as packed weights."""
    from torch import Tensor

    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    own += [value for value in vars(module).values() if isinstance(value, Tensor)]
    new = [tensor for tensor in own if id(tensor) not in seen]
    seen.update(id(tensor) for tensor in new)
    return sum(tensor.numel() * tensor.element_size() for tensor in new)


def _parts(one: object) -> Iterable[object]:
    if isinstance(one, Mapping):
        return list(one.values())
    if isinstance(one, list | tuple | Set):
        return list(one)
    slots = [getattr(one, name, None) for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(one, "__dict__", {}).values()]
