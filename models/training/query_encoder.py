"""Distils a smaller encoder for queries: some of the layers, the same width, aligned with the frozen encoder on texts.

Items keep their encoding, so nothing is encoded again, and no labels are needed (Wang and Lyu 2023, "Query Encoder
Distillation via Embedding Alignment"; Kim et al. 2023, "EmbedDistill"). Knows encoders and texts; nothing of examples'
labels, of heads, or of versions.
"""

import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize
from transformers import PrinterCallback, Trainer, TrainingArguments

from models.encoder import Encoder, choose_device, choose_dtype
from models.training.towers import fresh_bert
from models.training.trainer import ProgressCallback
from models.weights import WeightsError, quiet

MOST_TITLES = 30_000
"""Texts of items that are read beside the queries, and as many pieces of them."""

MOST_WORDS = 6
"""Of a piece of an item's text, which stands for a query that nobody has typed yet."""

HELD_OUT = 1_000
"""Queries that the result is compared on; a tenth of them at most."""

PASSES, BATCH, WARMUP = 3.0, 64, 200


class Distillation(nn.Module):
    """A student beside its teacher; the loss is how far their states are apart.

    Parameters
    ----------
    teacher
        A BERT encoder, which stays as it is.
    kept
        The numbers of the teacher's layers that the student starts with, ascending. Its embeddings are the teacher's.
    """

    def __init__(self, teacher: Any, kept: Sequence[int]) -> None:
        super().__init__()
        layers = teacher.encoder.layer
        self.student: Any = deepcopy(teacher)
        self.student.encoder.layer = nn.ModuleList(deepcopy(layers[number]) for number in kept)
        self.student.config.num_hidden_layers = len(kept)
        self.student.embeddings.requires_grad_(False)
        self._teacher = [teacher.eval().requires_grad_(False)]  # in a list, so that it is no part of this module

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss: one minus the mean cosine of token states, twice that of pooled vectors, and twice the mean squared
        difference of the texts' cosines to each other."""
        with torch.no_grad():
            states, pooled = self._read(self._teacher[0], input_ids, attention_mask)
        own_states, own = self._read(self.student, input_ids, attention_mask)
        tokens = ((own_states * states).sum(-1) * attention_mask).sum() / attention_mask.sum()
        relations = (pooled @ pooled.T - own @ own.T).square().mean()
        return {"loss": 1 - tokens + 2 * (1 - (own * pooled).sum(-1).mean()) + 2 * relations}

    def _read(self, bert: Any, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = bert(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        return normalize(states, dim=-1), normalize((states * mask[..., None]).sum(1), dim=-1)


def spread(layers: int, of: int) -> list[int]:
    """So many layers of a model, from the first to the last, evenly.

    Raises
    ------
    WeightsError
        When the model has not so many.

    Examples
    --------
    >>> spread(3, 6), spread(1, 6), spread(6, 6)
    ([0, 2, 5], [5], [0, 1, 2, 3, 4, 5])
    """
    if not 1 <= layers <= of:
        raise WeightsError(f"the encoder has {of} layers: one for queries has 1 to {of} of them, not {layers}")
    return [of - 1] if layers == 1 else np.linspace(0, of - 1, layers).astype(int).tolist()


def texts_for(queries: Iterable[str], titles: Iterable[str], seed: int = 0) -> list[str]:
    """What a student reads: each query twice, some items' texts, and pieces of them, shuffled.

    Examples
    --------
    >>> found = texts_for(["hose"], ["Red garden hose 20 m"])
    >>> found.count("hose") >= 2, "Red garden hose 20 m" in found, len(found)
    (True, True, 4)
    """
    chance, known, long = random.Random(seed), sorted(set(queries)), sorted(set(titles))
    some = chance.sample(long, min(MOST_TITLES, len(long)))
    found = [*known, *known, *some, *(_piece(text, chance) for text in some)]
    chance.shuffle(found)
    return found


def _piece(text: str, chance: random.Random) -> str:
    words, count = text.lower().split(), chance.randint(1, MOST_WORDS)
    first = chance.randrange(max(1, len(words) - count + 1))
    return " ".join(words[first : first + count])


def distil(
    encoder: Encoder,
    queries: Iterable[str],
    titles: Iterable[str],
    folder: Path,
    *,
    layers: int,
    rate: float,
    passes: float = PASSES,
    seed: int = 0,
    bf16: bool | None = None,
    bar: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[Encoder, dict[str, float]]:
    """Train a student, save it, and compare it with its teacher on queries that it has not read.

    Parameters
    ----------
    encoder
        The teacher, by its weights; without its adapter.
    queries, titles
        Queries and items' texts.
    folder
        Gets the student, as ``save_pretrained`` writes it; what was there is removed.
    layers
        Of the student.
    rate
        The peak learning rate.
    passes
        How often each text is read.
    bf16
        Whether to compute in bfloat16; by default where the processor does so natively.
    bar
        Whether to show a progress bar.

    Returns
    -------
    The encoder whose queries the student reads, and figures: mean cosines of token states and of pooled vectors.

    Raises
    ------
    WeightsError
        When the teacher has not so many layers.
    """
    kept = spread(layers, encoder.config.num_hidden_layers)
    every = sorted(set(queries))
    random.Random(seed).shuffle(every)
    aside, known = np.split(np.array(every, object), [min(HELD_OUT, len(every) // 10)])
    ids = [row for row in encoder.token_ids(texts_for(known, titles, seed), encoder.max_query_tokens) if len(row) > 2]
    torch.manual_seed(seed)
    teacher: Any = fresh_bert(encoder.weights)
    model = Distillation(teacher, kept)
    _train(model, ids, folder.with_name(f"{folder.name}-run"), rate, passes, seed, bf16, bar, progress)
    shutil.rmtree(folder, ignore_errors=True)
    with quiet():
        model.student.save_pretrained(folder)
    student = encoder.with_queries(folder)
    return student, {"query_layers": float(layers), **compared(encoder, student, aside.tolist())}


def compared(teacher: Encoder, student: Encoder, queries: Sequence[str]) -> dict[str, float]:
    """Mean cosines of a student's pooled vectors and token states to its teacher's; none without queries."""
    pairs = list(zip(teacher.encode_queries(queries), student.encode_queries(queries), strict=True))
    pairs = [pair for pair in pairs if len(pair[0].tokens)]
    if not pairs:
        return {}
    return {
        "query_cosine": float(np.mean([one.pooled @ own.pooled for one, own in pairs])),
        "query_token_cosine": float(np.mean([(one.tokens * own.tokens).sum(1).mean() for one, own in pairs])),
    }


def _train(
    model: Distillation,
    ids: Sequence[list[int]],
    folder: Path,
    rate: float,
    passes: float,
    seed: int,
    bf16: bool | None,
    bar: bool,
    progress: Callable[[float], None] | None,
) -> None:
    on_cpu = not torch.cuda.is_available()
    native = choose_dtype("auto", choose_device("auto")) is torch.bfloat16
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=passes,
        per_device_train_batch_size=BATCH,
        learning_rate=rate,
        weight_decay=0.01,
        warmup_steps=min(WARMUP, len(ids) // (4 * BATCH)),
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        bf16=native if bf16 is None else bf16,
        use_cpu=on_cpu,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        seed=seed,
        remove_unused_columns=False,
        disable_tqdm=not bar,
        dataloader_pin_memory=not on_cpu,
    )
    rows: Any = [{"input_ids": row} for row in ids]
    callbacks: list[Any] = [] if progress is None else [ProgressCallback(progress)]
    trainer = Trainer(model, arguments, data_collator=_padded, train_dataset=rows, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)  # without a progress bar it prints all figures
    trainer.train()


def _padded(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    found = torch.zeros(2, len(rows), max(len(row["input_ids"]) for row in rows), dtype=torch.long)
    for number, row in enumerate(rows):
        own = row["input_ids"]
        found[0, number, : len(own)], found[1, number, : len(own)] = torch.tensor(own), 1
    return {"input_ids": found[0], "attention_mask": found[1]}
