"""Loads what encodes queries, where the encoder of items does not: a peft adapter over it, or a smaller encoder.

Knows BERT models and their folders; nothing of texts.
"""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from models.weights import WeightsError


def is_encoder(folder: Path) -> bool:
    """Whether a folder holds an encoder of its own, and not an adapter."""
    return (folder / "config.json").is_file()


def lay_over(bert: nn.Module, folder: Path) -> nn.Module:
    """Apply an adapter to an encoder, which is modified.

    LoRA, AdaLoRA and IA3 are merged into the weights, and then cost nothing; a prefix stays separate.

    Raises
    ------
    WeightsError
        When the folder holds no adapter for this encoder.
    """
    import peft

    if not (folder / "adapter_model.safetensors").is_file():
        raise WeightsError(f"{folder} holds no adapter: adapter_model.safetensors is missing")
    try:
        with warnings.catch_warnings():
            # AdaLoRA's ranks are given by weights' names: peft 0.21 supports this, but warns of it.
            warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
            adapted: Any = peft.PeftModel.from_pretrained(bert, str(folder))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"{folder} holds no adapter for this encoder: {error}") from error
    merged: nn.Module = adapted if is_prefix(adapted) else adapted.merge_and_unload()
    return merged.eval()


def is_prefix(model: nn.Module) -> bool:
    """Whether a model reads learned states before its text; such a model takes one text in each row."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))
