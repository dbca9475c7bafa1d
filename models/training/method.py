"""The names of the fine-tuning methods; a module of its own because their implementation takes seconds to load."""

from typing import Literal

Update = Literal["head", "lora", "adalora", "prefix", "adapter", "full", "cross_encoder"]
"""Those that a running shop trains by again and again."""

Method = Literal[Update, "query_encoder"]
