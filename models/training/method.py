"""The names of the fine-tuning methods; a module of its own because their implementation takes seconds to load."""

from typing import Literal

Method = Literal["head", "lora", "adalora", "prefix", "adapter", "full", "query_encoder", "cross_encoder"]
