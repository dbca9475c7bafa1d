"""Texts through BERT, once each: items to quantised token states, queries to float ones, and word pieces.

Knows a transformer and its tokenizer; nothing of scoring, storage or where texts come from.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from models import cpu
from models.adapter import is_prefix, lay_over
from models.encoded import FORMAT, EncodedItem, EncodedQuery
from models.packed import pack_linears
from models.projection import orthogonal
from models.weights import PACKAGED, WeightsError, fingerprint, quiet, resolve, version

Precision = Literal["auto", "float32", "bfloat16"]

# No real text has longer words on average; cutting here keeps a hostile text from costing tokenizer time.
CHARACTERS_PER_TOKEN = 64
LONGEST_PIECE = 100
BATCH_TOKENS = 2_048
ROW_TOKENS = 64
TOKEN_DIM = 160


class Encoder:
    """A BERT encoder with its tokenizer.

    Parameters
    ----------
    weights
        What :func:`models.weights.resolve` takes: ``"packaged"``, a folder or a hub name.
    precision
        ``"auto"`` computes in bfloat16 where the processor (or CUDA) does so natively, else in float32.
    max_item_tokens, max_query_tokens
        Word pieces kept of a text, besides the model's two special tokens.
    token_dim
        Width T to which items' token states are projected before they are stored; 0 keeps all of D.
    device
        Where the model runs; what comes out is always in numpy.
    adapter
        Folder of a peft adapter that changes how queries are read; items are encoded without it.

    Attributes
    ----------
    version
        Changes whenever encoded items would: weights, tokenizer, item length, projection or storage format; not with
        precision.
    query_version
        Changes whenever encoded queries would, the adapter included.
    dim
        Width D of pooled vectors and of a query's token states.
    token_dim
        Width T of an item's token states.

    Raises
    ------
    models.weights.WeightsError
        When the weights are not there, or are of another kind of model than BERT.

    Examples
    --------
    >>> encoder = Encoder()
    >>> encoder.dim, encoder.version.startswith("all-MiniLM-L6-v2@")
    (384, True)
    >>> [item] = encoder.encode_items(["Red garden hose"])
    >>> item.tokens.shape, item.pooled.shape
    ((3, 160), (384,))
    >>> encoder.word_pieces(["Gardening gloves!"])
    [['gardening', 'gloves', '!']]
    """

    def __init__(
        self,
        weights: str = PACKAGED,
        *,
        precision: Precision = "auto",
        max_item_tokens: int = 32,
        max_query_tokens: int = 16,
        token_dim: int = TOKEN_DIM,
        device: str = "cpu",
        adapter: Path | None = None,
    ) -> None:
        from transformers import AutoConfig, AutoTokenizer

        folder = resolve(weights)
        kind = AutoConfig.from_pretrained(folder).model_type
        if kind != "bert":
            raise WeightsError(f"{weights} is a {kind} model; this encoder runs BERT models")
        self.weights = weights
        self.adapter = adapter
        self.device = torch.device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.max_item_tokens = max_item_tokens
        self.max_query_tokens = max_query_tokens
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._pieces: Any = self.tokenizer.backend_tokenizer
        self._pieces.no_padding()  # tokenizer files carry lengths of their own; ours are the limits above
        self._pieces.no_truncation()
        self.model = self._load(folder)
        self.query_model = self._load(folder, adapter) if adapter else self.model
        self.dim = int(self.model.config.hidden_size)
        self.token_dim = min(token_dim, self.dim) or self.dim
        self._narrow = orthogonal(self.dim, self.token_dim)
        self.version = f"{version(weights)}/i{max_item_tokens}t{self.token_dim}f{FORMAT}"
        self.query_version = f"{self.version}+{fingerprint(adapter)}" if adapter else self.version
        self._unknown = self.tokenizer.unk_token

    def _load(self, folder: Path, adapter: Path | None = None) -> Any:
        from transformers import AutoModel

        with quiet():
            model: Any = AutoModel.from_pretrained(folder, dtype=self.dtype, use_safetensors=True)
        model.pooler = None
        if adapter is not None:
            model = lay_over(model, adapter)
        model.to(self.device, self.dtype).eval()
        pack_linears(model)
        return model

    def encode_items(self, texts: Sequence[str]) -> list[EncodedItem]:
        """Items' texts to quantised token states and pooled vectors, in the order given."""
        encoded = self._encode(texts, self.max_item_tokens, self.model)
        return [EncodedItem.quantise(self._project(states), pooled) for states, pooled in encoded]

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        """Queries to float32 token states and pooled vectors, in the order given."""
        return [EncodedQuery(*states) for states in self._encode(texts, self.max_query_tokens, self.query_model)]

    def word_pieces(self, texts: Sequence[str]) -> list[list[str]]:
        """The model's own word pieces of each text, for a lexical index; what its vocabulary lacks stands as written.

        So a model that knows little Chinese still gives one piece per character, and rare part numbers stay findable.
        """
        readable = [_readable(text) for text in texts]
        encodings = self._pieces.encode_batch(readable, add_special_tokens=False)
        return [
            [
                piece if piece != self._unknown else text[start:end][:LONGEST_PIECE].lower()
                for piece, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
            ]
            for text, encoding in zip(readable, encodings, strict=True)
        ]

    def _encode(
        self, texts: Sequence[str], limit: int, model: Any
    ) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Yield (content token states [n, D], pooled [D]) text by text."""
        for batch in _batches(self.token_ids(texts, limit)):
            states, pooled = (part.cpu().numpy() for part in self._forward(batch, model))
            start = 0
            for row, ids in enumerate(batch):
                yield states[start + 1 : start + len(ids) - 1], pooled[row]
                start += len(ids)

    def _project(self, states: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Token states [n, D] to unit-norm [n, T]."""
        narrow = states @ self._narrow
        rows: npt.NDArray[np.float32] = narrow / np.linalg.norm(narrow, axis=1, keepdims=True).clip(1e-9)
        return rows

    def token_ids(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Each text's token ids between the two special ones, cut after ``limit`` content tokens."""
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        short = [_readable(text[: limit * CHARACTERS_PER_TOKEN]) for text in texts]
        encodings = self._pieces.encode_batch(short, add_special_tokens=False)
        return [[first, *encoding.ids[:limit], last] for encoding in encodings]

    @torch.inference_mode()
    def _forward(self, texts: Sequence[list[int]], model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """All texts' unit-norm token states one after the other [sum of lengths, D], and pooled vectors [texts, D].

        Texts share rows of the batch, and each attends to itself alone, so hardly any padding is computed.
        """
        alone = is_prefix(model)
        laid = one_a_row(texts) if alone else pack(texts, ROW_TOKENS)
        ids, owner, position = (torch.from_numpy(part).to(self.device) for part in laid)
        there = owner >= 0
        if alone:
            output = model(input_ids=ids, attention_mask=there.long()).last_hidden_state
        else:
            mask = None if len(texts) == 1 else (owner[:, :, None] == owner[:, None, :]).unsqueeze(1)
            output = model(input_ids=ids, position_ids=position, attention_mask=mask).last_hidden_state
        states, owners = output[there].float(), owner[there]
        sums = torch.zeros(len(texts), self.dim, device=self.device).index_add_(0, owners, states)
        return normalize(states, dim=-1), normalize(sums, dim=-1)


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The number format a model computes in.

    Examples
    --------
    >>> choose_dtype("float32", torch.device("cpu"))
    torch.float32
    """
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else "bfloat16" in cpu.features()
        precision = "bfloat16" if native else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def pack(texts: Sequence[list[int]], width: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Lay texts out in rows at least as wide as the longest of them, in order, never across two rows.

    Rows are filled evenly: one token too many for a row of 64 makes two of about 33, not one full and one empty.

    Returns
    -------
    Token ids, the owning text (-1 where there is none), and the position within the text; each int64 [rows, width].

    Examples
    --------
    >>> ids, owner, position = pack([[5, 6], [7, 8, 9], [4]], width=4)
    >>> ids.tolist(), owner.tolist(), position.tolist()
    ([[5, 6, 0, 0], [7, 8, 9, 4]], [[0, 0, -1, -1], [1, 1, 1, 2]], [[0, 1, 0, 0], [0, 1, 2, 0]])
    """
    total, longest = sum(map(len, texts)), max(map(len, texts))
    width = max(width, longest)
    rows = math.ceil(total / width)
    width = min(width, total if rows == 1 else math.ceil(total / rows) + longest - 1)
    places, row, used = [], 0, 0
    for text in texts:
        if used + len(text) > width:
            row, used = row + 1, 0
        places.append((row, used))
        used += len(text)
    ids, owner, position = (np.full((row + 1, width), fill) for fill in (0, -1, 0))
    for number, (text, (row, start)) in enumerate(zip(texts, places, strict=True)):
        span = slice(start, start + len(text))
        ids[row, span], owner[row, span], position[row, span] = text, number, np.arange(len(text))
    return ids, owner, position


def one_a_row(texts: Sequence[list[int]]) -> tuple[npt.NDArray[np.int64], ...]:
    """As :func:`pack`, but every text has a row to itself.

    Examples
    --------
    >>> ids, owner, position = one_a_row([[5, 6], [7]])
    >>> ids.tolist(), owner.tolist(), position.tolist()
    ([[5, 6], [7, 0]], [[0, 0], [1, -1]], [[0, 1], [0, 0]])
    """
    ids, owner, position = (np.full((len(texts), max(map(len, texts))), fill) for fill in (0, -1, 0))
    for row, text in enumerate(texts):
        span = slice(0, len(text))
        ids[row, span], owner[row, span], position[row, span] = text, row, np.arange(len(text))
    return ids, owner, position


def _batches(texts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Runs of texts of at most :data:`BATCH_TOKENS` tokens, in order."""
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


def _readable(text: str) -> str:
    """Lone surrogates, which the tokenizer refuses, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
