"""Engines that run a model's forward pass: eager PyTorch, torch's compiler, TensorRT or OpenVINO.

Knows modules, shapes and devices; nothing of texts, nor of what the numbers mean.
"""

from models.engines.compile import Compiled, EngineName, compile

__all__ = ["Compiled", "EngineName", "compile"]
