"""Runs a BERT model on many short texts at once, given as token ids, with almost no padding.

Knows token ids, rows and devices; nothing of tokenizers, nor of what the states are for.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.engines import EngineName, compile
from models.layers import PackedRows, pack_linears

BATCH_TOKENS = 2_048
"""The most tokens of one pass."""

ROW_TOKENS = 64
"""The width of a row that several texts share, unless one of them is longer."""

NOWHERE = (0, -1, 0)
"""The token id, owner and position of padding."""

Texts = Sequence[list[int]]


class Reader(Protocol):
    """Token ids to hidden states."""

    @property
    def engine(self) -> EngineName:
        """What runs the model, never ``"auto"``."""

    def read(self, texts: Texts) -> torch.Tensor:
        """Hidden states of all tokens [sum of lengths, D], text after text."""

    def warm_up(self) -> None:
        """Run every compiled shape once."""


class PackedReader:
    """Runs texts that share rows; each text attends only to itself.

    Parameters
    ----------
    model
        On its device and in its precision; it is modified to be faster.
    engine
        As :func:`models.engines.compile` takes it.
    """

    def __init__(self, model: nn.Module, device: torch.device, engine: EngineName = "auto") -> None:
        self.device = device
        example = [torch.zeros(2, ROW_TOKENS, dtype=torch.long, device=device) for _ in NOWHERE]
        module = PackedRows(model)
        self.rows = compile(module, example, device, engine=engine, fills=NOWHERE)
        self.engine = self.rows.name
        if self.engine == "eager":
            pack_linears(module)

    def read(self, texts: Texts) -> torch.Tensor:
        """See :class:`Reader`."""
        if len(texts) == 1:
            ids, places = torch.tensor(texts), torch.arange(len(texts[0]))[None]
            # A text alone needs no mask; an engine with a program of its own needs all inputs.
            owners = None if self.engine == "eager" else torch.zeros_like(ids).to(self.device)
            return self.rows(ids.to(self.device), owners, places.to(self.device))[0]
        _, owner, _ = parts = pack(texts, ROW_TOKENS)
        states = self.rows(*(torch.from_numpy(part).to(self.device) for part in parts))
        order = np.argsort(owner, axis=None, kind="stable")[np.count_nonzero(owner < 0) :]
        return states.flatten(0, 1)[torch.from_numpy(order).to(self.device)]

    def warm_up(self) -> None:
        """See :class:`Reader`."""
        self.rows.warm_up([torch.zeros(1, 1, dtype=torch.long, device=self.device)] * len(NOWHERE))


class PrefixReader:
    """Runs one text in each row, for models that read learned states before the text."""

    engine: EngineName = "eager"

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.device = model, device
        pack_linears(model)

    @torch.inference_mode()
    def read(self, texts: Texts) -> torch.Tensor:
        """See :class:`Reader`."""
        ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
        there = np.arange(ids.shape[1]) < np.array([len(text) for text in texts])[:, None]
        ids[there] = [token for text in texts for token in text]
        mask = torch.from_numpy(there).to(self.device)
        output: Any = self.model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=mask.long())
        states: torch.Tensor = output.last_hidden_state[mask]
        return states

    def warm_up(self) -> None:
        """Nothing is compiled."""


def pack(texts: Texts, width: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Pack texts into rows at least as wide as the longest text; no text is split over rows.

    Longer texts come first; each goes into the first row with room for it (first-fit decreasing). Rows are filled
    evenly: one token too many for a row of 64 makes two rows of about 33, not a full and an empty one.

    Returns
    -------
    Token ids, the owning text (-1 for padding), and the position within the text; each int64 [rows, width].

    Examples
    --------
    >>> ids, owner, position = pack([[5, 6], [7, 8, 9], [4]], width=4)
    >>> ids.tolist(), owner.tolist(), position.tolist()
    ([[7, 8, 9, 4], [5, 6, 0, 0]], [[1, 1, 1, 2], [0, 0, -1, -1]], [[0, 1, 2, 0], [0, 1, 0, 0]])
    """
    lengths = [len(text) for text in texts]
    total, longest = sum(lengths), max(lengths)
    width = max(width, longest)
    rows = math.ceil(total / width)
    width = min(width, total if rows == 1 else math.ceil(total / rows) + longest - 1)
    used: list[int] = []
    places: list[tuple[int, int, int]] = []
    for number in sorted(range(len(texts)), key=lambda number: -lengths[number]):
        row = next((row for row, taken in enumerate(used) if taken + lengths[number] <= width), len(used))
        if row == len(used):
            used.append(0)
        places.append((number, row, used[row]))
        used[row] += lengths[number]
    ids, owner, position = (np.full((len(used), max(used)), fill) for fill in NOWHERE)
    for number, row, start in places:
        span = slice(start, start + lengths[number])
        ids[row, span], owner[row, span], position[row, span] = texts[number], number, np.arange(lengths[number])
    return ids, owner, position


def batches(texts: Texts) -> Iterator[list[list[int]]]:
    """Split texts, in order, into passes of at most :data:`BATCH_TOKENS` tokens.

    Lengths stay mixed, since short texts fill the rows that long ones leave open.
    """
    batch: list[list[int]] = []
    tokens = 0
    for text in texts:
        if batch and tokens + len(text) > BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += len(text)
    if batch:
        yield batch
