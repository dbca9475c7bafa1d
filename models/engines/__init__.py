"""How a model's forward pass is run: as written, through torch's compiler, or as a TensorRT engine.

Knows modules, shapes and devices; nothing of texts, nor of what the numbers mean.
"""

from models.engines.compile import Compiled, EngineName, compile

__all__ = ["Compiled", "EngineName", "compile"]
