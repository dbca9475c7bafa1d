"""SASRec, small: a transformer over a shopper's newest items that predicts the next one (Kang and McAuley 2018).

Knows sequences of places; nothing of texts or times.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from streams.features.items import Floats

LENGTH, WIDTH, BLOCKS, HEADS = 50, 64, 2, 2
BATCH = 128
RATE = 2e-3


class SASRec(nn.Module):
    """Scores of all items after each item of a sequence. Place ``count`` stands for nothing."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.items = nn.Embedding(count + 1, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        nn.init.normal_(self.items.weight, std=0.05)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.2, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, BLOCKS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.bias = nn.Parameter(torch.zeros(count))

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """int64 [b, LENGTH] to states float32 [b, LENGTH, WIDTH]."""
        length = sequences.shape[1]
        mask = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        states = self.items(sequences) + self.places(torch.arange(length))
        found: torch.Tensor = self.blocks(states, mask=mask)
        return found

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Scores of all items, float32 [..., n]."""
        return states @ self.items.weight[:-1].T + self.bias


class Trained:
    """A model and the sequences that it learns from: shoppers' items, oldest first.

    Parameters
    ----------
    count
        How many items there are.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], count: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.count, self.model = count, SASRec(count)
        rows = [
            [*([count] * (LENGTH + 1 - len(part))), *part]
            for sequence in sequences
            for end in range(len(sequence), 1, -LENGTH)
            if len(part := list(sequence[max(0, end - LENGTH - 1) : end])) > 1
        ]
        self._rows = torch.tensor(rows)
        self._optimiser = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=1e-4)

    def learn(self, epochs: int) -> None:
        """Go over the sequences some more times."""
        self.model.train()
        for _ in range(epochs):
            for some in torch.split(torch.randperm(len(self._rows)), BATCH):
                before, after = self._rows[some, :-1], self._rows[some, 1:]
                there = before != self.count
                logits = self.model.logits(self.model(before)[there])
                loss = nn.functional.cross_entropy(logits, after[there])
                self._optimiser.zero_grad()
                torch.autograd.backward(loss)
                self._optimiser.step()
        self.model.eval()

    @torch.inference_mode()
    def scores(self, sequence: Sequence[int]) -> Floats:
        """Of every item after a sequence, float64 [n].

        Examples
        --------
        >>> trained = Trained([[0, 1, 2] * 10] * 20, 3)
        >>> trained.learn(30)
        >>> int(trained.scores([0, 1]).argmax())
        2
        """
        newest = list(sequence[-LENGTH:])
        row = torch.tensor([[*([self.count] * (LENGTH - len(newest))), *newest]])
        return np.asarray(self.model.logits(self.model(row)[0, -1]).numpy(), np.float64)
