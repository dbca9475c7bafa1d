"""Encodes texts with BERT: items to quantised token states, queries to float ones; also gives word pieces.

Knows a transformer and its tokenizer; nothing of scoring, storage or where texts come from.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from models import cpu
from models.adapter import is_prefix, lay_over
from models.encoded import FORMAT, EncodedItem, EncodedQuery, fold
from models.engines import EngineName
from models.projection import orthogonal
from models.reader import PackedReader, PrefixReader, Reader, batches
from models.trigrams import trigrams
from models.weights import PACKAGED, WeightsError, fingerprint, quiet, resolve, version
from models.words import Words

_Floats = npt.NDArray[np.float32]
_Encoding = tuple[_Floats, _Floats, list[int]]
Precision = Literal["auto", "float32", "bfloat16"]

# No real text has longer words on average; cutting here keeps a hostile text from costing tokenizer time.
CHARACTERS_PER_TOKEN = 64
LONGEST_PIECE = 100
TOKEN_DIM = 156


class Encoder:
    """A BERT encoder with its tokenizer.

    Parameters
    ----------
    weights
        What :func:`models.weights.resolve` takes: ``"packaged"``, a folder or a hub name.
    precision
        ``"auto"`` computes in bfloat16 if the processor (or CUDA) does so natively, else in float32.
    max_item_tokens, max_query_tokens
        Word pieces kept of a text, besides the model's two special tokens.
    token_dim
        Width T to which items' token states are projected before they are stored; 0 keeps all of D.
    device
        Where the model runs; ``"auto"`` uses a GPU if there is one. The output is always in numpy.
    engine
        How it runs, as :func:`models.engines.compile` takes it.
    adapter
        Folder of a peft adapter for queries; items are encoded without it.

    Attributes
    ----------
    version
        Changes whenever encoded items would change: with weights, tokenizer, item length, projection or storage
        format; not with precision.
    query_version
        Changes whenever encoded queries would change, also with the adapter.
    engine
        The engine in use, never ``"auto"``.
    config
        The model's configuration.
    dim
        Width D of pooled vectors and of a query's token states.
    token_dim
        Width T of an item's token states.

    Raises
    ------
    models.weights.WeightsError
        When the weights do not exist, or are not of a BERT model.

    Examples
    --------
    >>> encoder = Encoder()
    >>> encoder.dim, encoder.version.startswith("all-MiniLM-L6-v2@")
    (384, True)
    >>> [item] = encoder.encode_items(["Red garden hose"])
    >>> item.tokens.shape, item.pooled.shape
    ((3, 156), (384,))
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
        engine: EngineName = "auto",
        adapter: Path | None = None,
    ) -> None:
        from transformers import AutoConfig, AutoTokenizer

        folder = resolve(weights)
        kind = AutoConfig.from_pretrained(folder).model_type
        if kind != "bert":
            raise WeightsError(f"{weights} is a {kind} model; this encoder runs BERT models")
        self.weights = weights
        self.adapter = adapter
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.max_item_tokens = max_item_tokens
        self.max_query_tokens = max_query_tokens
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._pieces: Any = self.tokenizer.backend_tokenizer
        self._pieces.no_padding()  # tokenizer files carry lengths of their own; ours are the limits above
        self._pieces.no_truncation()
        model = self._load(folder)
        self.config = model.config
        packed = PackedReader(model, self.device, engine)
        self.items: Reader = packed
        self.engine = packed.engine
        self.queries = self._adapted(folder, adapter, engine) if adapter else self.items
        self.dim = int(self.config.hidden_size)
        self.token_dim = min(token_dim, self.dim) or self.dim
        self._narrow = orthogonal(self.dim, self.token_dim)
        self.version = f"{version(weights)}/i{max_item_tokens}t{self.token_dim}f{FORMAT}"
        self.query_version = f"{self.version}+{fingerprint(adapter)}" if adapter else self.version
        self._unknown = self.tokenizer.unk_token

    def _load(self, folder: Path) -> Any:
        from transformers import AutoModel

        with quiet():
            # Loaded as float32 and cast: to load another type, transformers changes torch's default meanwhile, for
            # all threads, and a scorer that computes in one of them breaks.
            model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        model.pooler = None
        return model.to(self.device, self.dtype).eval()

    def _adapted(self, folder: Path, adapter: Path, engine: EngineName) -> Reader:
        model = lay_over(self._load(folder), adapter).to(self.device, self.dtype)
        return PrefixReader(model, self.device) if is_prefix(model) else PackedReader(model, self.device, engine)

    def warm_up(self, texts: int, pause: Callable[[float], object] = lambda _: None) -> None:
        """Run batches of short texts, each twice as large as the last, up to the given size. The first pass of a shape
        takes seconds with a compiled engine; later ones do not. ``pause`` is called after each with its duration, so
        that others get as much time."""
        self.items.warm_up()
        self.queries.warm_up()
        for count in (2**power for power in range(texts.bit_length())):
            began = time.perf_counter()
            self.encode_queries(["warm up"] * count)
            pause(time.perf_counter() - began)

    def encode_items(self, texts: Sequence[str]) -> list[EncodedItem]:
        """Items' texts to quantised token states and pooled vectors, in the order given."""
        encoded = self._encode(texts, self.max_item_tokens, self.items)
        return [
            EncodedItem.quantise(self._project(states), pooled, ids, trigrams(text))
            for (states, pooled, ids), text in zip(encoded, texts, strict=True)
        ]

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        """Queries to float32 token states and pooled vectors, in the order given."""
        encoded = self._encode(texts, self.max_query_tokens, self.queries)
        # Copies: a view would keep the whole batch in memory for as long as one query of it is kept.
        return [
            EncodedQuery(states.copy(), pooled.copy(), fold(ids), trigrams(text))
            for (states, pooled, ids), text in zip(encoded, texts, strict=True)
        ]

    def word_pieces(self, texts: Sequence[str]) -> list[list[str]]:
        """The model's word pieces of each text, for a lexical index; words outside its vocabulary are kept as written.

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

    def words(self, texts: Sequence[str], limit: int) -> list[Words]:
        """The words of each text's first pieces, as many as are encoded, and which word each piece belongs to.

        Examples
        --------
        >>> [found] = Encoder().words(["gardenhose 5ft long"], limit=5)
        >>> found.owner.tolist(), found.text
        ([0, 0, 0, 1, 1], 'gardenhose 5ft')
        """
        short = [_readable(text[: limit * CHARACTERS_PER_TOKEN]) for text in texts]
        encodings = self._pieces.encode_batch(short, add_special_tokens=False)
        return [
            Words.of(text, encoding.offsets[:limit], [piece != self._unknown for piece in encoding.tokens[:limit]])
            for text, encoding in zip(short, encodings, strict=True)
        ]

    def _encode(self, texts: Sequence[str], limit: int, reader: Reader) -> list[_Encoding]:
        """Content token states [n, D], pooled vector [D] and token ids [n] of each text, in the order given."""
        found: list[_Encoding] = []
        for batch in batches(self.token_ids(texts, limit)):
            states, pooled = self._states(batch, reader)
            start = 0
            for row, ids in enumerate(batch):
                found.append((states[start + 1 : start + len(ids) - 1], pooled[row], ids[1:-1]))
                start += len(ids)
        return found

    @torch.inference_mode()
    def _states(self, texts: Sequence[list[int]], reader: Reader) -> tuple[_Floats, _Floats]:
        """All texts' unit-norm token states one after the other [sum of lengths, D], and pooled vectors [texts, D]."""
        states, owners = reader.read(texts)
        states = states.float()
        sums = torch.zeros(len(texts), self.dim, device=self.device).index_add_(0, owners, states)
        return normalize(states, dim=-1).cpu().numpy(), normalize(sums, dim=-1).cpu().numpy()

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


def choose_device(name: str) -> torch.device:
    """A device by its name; ``"auto"`` is the first GPU, or the CPU if there is none.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


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


def _readable(text: str) -> str:
    """Lone surrogates, which the tokenizer refuses, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
