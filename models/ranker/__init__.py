"""Rankers by behaviour: features of candidates in, a score of each out; and how they are kept in a folder.

A ranker takes columns by name, so one that was learned with fewer features serves where more are computed. It is one of
three kinds: ``linear``, ``network`` and ``trees``. The folder ``ranker/`` of a version has

- ``config.json``: the format, the kind, and the names of the features in order;
- ``ranker.txt`` (trees, LightGBM's own text) or ``ranker.safetensors`` (linear, network);
- ``first.safetensors``: a linear ranker over the same features, which cuts candidates before the ranker sees them;
- ``items.json`` and ``linear.safetensors``: weights from item to item (:class:`ItemWeights`).

Nothing of it is a pickle. Knows columns and numbers; nothing of what a feature means, nor of how a ranker is learned.
"""

from models.ranker.columns import Columns, Scaling
from models.ranker.folder import first_stage, load, packaged, save
from models.ranker.item_weights import ItemWeights, ease
from models.ranker.kinds import Kind, Linear, Network, Ranker, Trees

__all__ = [
    "Columns",
    "ItemWeights",
    "Kind",
    "Linear",
    "Network",
    "Ranker",
    "Scaling",
    "Trees",
    "ease",
    "first_stage",
    "load",
    "packaged",
    "save",
]
