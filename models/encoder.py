"""Texts through BERT, once each: items to quantised token states, queries to float ones, and word pieces.

Knows a transformer and its tokenizer; nothing of scoring, storage or where texts come from.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from models import cpu
from models.encoded import FORMAT, EncodedItem, EncodedQuery
from models.weights import PACKAGED, resolve, version

Precision = Literal["auto", "float32", "bfloat16"]

# No real text has longer words on average; cutting here keeps a hostile text from costing tokenizer time.
CHARACTERS_PER_TOKEN = 64
BATCH_TOKENS = 2_048


class Encoder:
    """A BERT-like encoder with its tokenizer.

    Parameters
    ----------
    weights
        What :func:`models.weights.resolve` takes: ``"packaged"``, a folder or a hub name.
    precision
        ``"auto"`` computes in bfloat16 where the processor (or CUDA) does so natively, else in float32.
    max_item_tokens, max_query_tokens
        Word pieces kept of a text, besides the model's two special tokens.
    device
        Where the model runs; what comes out is always in numpy.

    Attributes
    ----------
    version
        Changes whenever encoded items would: weights, tokenizer, item length or storage format; not with precision.
    dim
        Width D of every vector.

    Raises
    ------
    models.weights.WeightsError
        When the weights are not there.

    Examples
    --------
    >>> encoder = Encoder()
    >>> encoder.dim, encoder.version.startswith("all-MiniLM-L6-v2@")
    (384, True)
    >>> [item] = encoder.encode_items(["Red garden hose"])
    >>> item.tokens.shape, item.pooled.shape
    ((3, 384), (384,))
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
        device: str = "cpu",
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = resolve(weights)
        self.weights = weights
        self.device = torch.device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.max_item_tokens = max_item_tokens
        self.max_query_tokens = max_query_tokens
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._pieces: Any = self.tokenizer.backend_tokenizer
        self._pieces.no_padding()  # tokenizer files carry lengths of their own; ours are the limits above
        self._pieces.no_truncation()
        self.model: Any = AutoModel.from_pretrained(folder, dtype=self.dtype, use_safetensors=True)
        self.model.pooler = None
        self.model.to(self.device).eval()
        self.dim = int(self.model.config.hidden_size)
        self.version = f"{version(weights)}/i{max_item_tokens}f{FORMAT}"
        self._unknown = self.tokenizer.unk_token

    def encode_items(self, texts: Sequence[str]) -> list[EncodedItem]:
        """Items' texts to quantised token states and pooled vectors, in the order given."""
        out: list[EncodedItem | None] = [None] * len(texts)
        for place, tokens, pooled in self._encode(texts, self.max_item_tokens):
            out[place] = EncodedItem.quantise(tokens, pooled)
        return [item for item in out if item is not None]

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        """Queries to float32 token states and pooled vectors, in the order given."""
        out: list[EncodedQuery | None] = [None] * len(texts)
        for place, tokens, pooled in self._encode(texts, self.max_query_tokens):
            out[place] = EncodedQuery(tokens, pooled)
        return [query for query in out if query is not None]

    def word_pieces(self, texts: Sequence[str]) -> list[list[str]]:
        """The model's own word pieces of each text, without special or unknown ones; for a lexical index."""
        encodings = self._pieces.encode_batch([_readable(text) for text in texts], add_special_tokens=False)
        return [[piece for piece in encoding.tokens if piece != self._unknown] for encoding in encodings]

    @torch.inference_mode()
    def _encode(
        self, texts: Sequence[str], limit: int
    ) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Yield (place, content token states, pooled) batch by batch, shortest texts first."""
        ids = self._ids(texts, limit)
        for places in _buckets([len(row) for row in ids]):
            longest = max(len(ids[place]) for place in places)
            lengths = torch.tensor([len(ids[place]) for place in places])
            batch = torch.full((len(places), longest), self.tokenizer.pad_token_id)
            for row, place in enumerate(places):
                batch[row, : len(ids[place])] = torch.tensor(ids[place])
            states, pooled = (part.cpu().numpy() for part in self._forward(batch, lengths))
            for row, place in enumerate(places):
                yield place, states[row, 1 : len(ids[place]) - 1], pooled[row]

    def _ids(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        short = [_readable(text[: limit * CHARACTERS_PER_TOKEN]) for text in texts]
        encodings = self._pieces.encode_batch(short, add_special_tokens=False)
        return [[first, *encoding.ids[:limit], last] for encoding in encodings]

    def _forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit-norm token states [B, T, D] and pooled vectors [B, D], float32; special tokens count in the mean."""
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        full = bool(mask.all())
        ids, mask = ids.to(self.device), mask.to(self.device)
        states = self.model(input_ids=ids, attention_mask=None if full else mask.long()).last_hidden_state.float()
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return normalize(states, dim=-1), normalize(pooled, dim=-1)


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


def _buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places by length, cut where padding to the longest would pass :data:`BATCH_TOKENS`."""
    bucket: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if bucket and (len(bucket) + 1) * lengths[place] > BATCH_TOKENS:
            yield bucket
            bucket = []
        bucket.append(place)
    if bucket:
        yield bucket


def _readable(text: str) -> str:
    """Lone surrogates, which the tokenizer refuses, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
