"""The names of the fine-tuning methods; apart from what they do, which takes seconds to load."""

from typing import Literal

Method = Literal["head", "lora", "adalora", "prefix", "adapter", "full", "cross_encoder"]
