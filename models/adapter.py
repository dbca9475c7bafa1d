"""A fine-tuned way of reading queries: a small peft adapter laid over the encoder, whose items stay as they are.

Knows BERT models and peft's folders; nothing of texts.
"""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from models.weights import WeightsError


def lay_over(bert: nn.Module, folder: Path) -> nn.Module:
    """Put an adapter over an encoder, which is changed.

    What can be merged into the weights (LoRA, AdaLoRA, IA3) is, and then costs nothing; a prefix stays beside them.

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
            # AdaLoRA's ranks go by weights' names: peft 0.21 takes them so, and warns of them all the same.
            warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
            adapted: Any = peft.PeftModel.from_pretrained(bert, str(folder))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"{folder} holds no adapter for this encoder: {error}") from error
    merged: nn.Module = adapted if is_prefix(adapted) else adapted.merge_and_unload()
    return merged.eval()


def is_prefix(model: nn.Module) -> bool:
    """Whether a model reads learned states before its text; such a model takes one text a row."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))
