"""The model store: versions of models as plain folders with a manifest, and slots that name the champion and others.

Knows files and manifests only; nothing of what a model computes, nor of who uses it.
"""

from models.store.errors import StoreError
from models.store.manifest import Data, Description, File, Manifest
from models.store.store import ModelStore

__all__ = ["Data", "Description", "File", "Manifest", "ModelStore", "StoreError"]
