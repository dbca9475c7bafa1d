"""The model store: versions of models as plain folders with a manifest, and slots that say which one is in charge.

Knows files and manifests only; nothing of what a model computes, nor of who asks.
"""

from models.store.errors import StoreError
from models.store.manifest import Data, Description, File, Manifest
from models.store.store import ModelStore

__all__ = ["Data", "Description", "File", "Manifest", "ModelStore", "StoreError"]
