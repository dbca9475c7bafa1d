"""Encodes texts with BERT: items to quantised token states, queries to float ones; also gives terms for an index.

Knows a transformer, its tokenizer and its conventions; nothing of scoring, storage or where texts come from.
"""

import copy
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models import cpu
from models.adapter import is_encoder, is_prefix, lay_over
from models.conventions import UNSAID, Conventions, conventions
from models.embeddings import load
from models.encoded import FORMAT, EncodedItem, EncodedQuery, fold
from models.engines import EngineName
from models.layers import first_position
from models.projection import orthogonal
from models.reader import PackedReader, PrefixReader, Reader, batches
from models.terms import fold as fold_text
from models.terms import grams, numbered, spaced
from models.trigrams import trigrams
from models.weights import PACKAGED, WeightsError, fingerprint, resolve, version
from models.words import Words

_Floats = npt.NDArray[np.float32]
_Encoding = tuple[_Floats, _Floats, list[int]]
Precision = Literal["auto", "float32", "bfloat16"]

KINDS = ("bert", "xlm-roberta")
"""Kinds of models, as their configurations name them."""

INITIAL = "\u2581"
"""Stands before the first piece of a word in SentencePiece's vocabularies."""

SAMPLE = (
    *("red garden hose 20 m", "wireless mouse for laptops", "women's winter boots", "dark chocolate 100 g", "sofa"),
    *("USB-C charging cable", "dog food with lamb", "LED light bulb", "children's bicycle", "men's running shoes"),
    *("无线蓝牙耳机", "儿童保温杯 500毫升", "女士羽绒服", "电动牙刷", "办公椅", "绿茶 礼盒", "手机壳", "猫粮"),
    *("Kaffeemaschine", "Gartenstuhl aus Holz", "Damenjacke wasserdicht", "Bohrmaschine 18 V", "Kinderbuch"),
    *("炊飯器", "ワイヤレスイヤホン", "レディース スニーカー", "掃除機", "水筒", "子供用 リュック"),
    *("zapatillas deportivas", "cafetera", "mochila escolar", "aceite de oliva", "lámpara de mesa", "toalla de baño"),
    *(
        "chaise de bureau",
        "crème solaire",
        "poêle antiadhésive",
        "рюкзак",
        "наушники",
        "чайник",
        "무선 이어폰",
        "운동화",
    ),
    *("หม้อหุงข้าว", "รองเท้าผู้หญิง", "حقيبة ظهر", "bàn phím không dây", "sedia da giardino", "tapete de yoga"),
)
"""Texts of many shops and languages, whose mean is that of any text; changing them changes every centred vector."""

# No real text has longer words on average; cutting here keeps a hostile text from costing tokenizer time.
CHARACTERS_PER_TOKEN = 64
LONGEST_PIECE = 100
TOKEN_DIM = 156


class _Split(NamedTuple):
    """A text as token ids with the prefix and the special tokens, and of the tokens of the text itself: which they are,
    where they begin and end in it, and whether the vocabulary knows them."""

    ids: list[int]
    content: list[int]
    spans: list[tuple[int, int]]
    known: list[bool]


class _Side(NamedTuple):
    """How one kind of texts is encoded."""

    reader: Reader
    prefix: str
    limit: int


class Encoder:
    """A BERT encoder with its tokenizer.

    Parameters
    ----------
    weights
        What :func:`models.weights.resolve` takes: ``"packaged"``, a folder or a hub name.
    precision
        ``"auto"`` computes in bfloat16 if the processor (or CUDA) does so natively, else in float32.
    max_item_tokens, max_query_tokens
        Word pieces kept of a text, besides the prefix and the model's two special tokens.
    token_dim
        Width T to which items' token states are projected before they are stored; 0 keeps all of D.
    device
        Where the model runs; ``"auto"`` uses a GPU if there is one. The output is always in numpy.
    engine
        How it runs, as :func:`models.engines.compile` takes it. OpenVINO has int8 weights, whatever the precision.
    query_engine
        How queries are encoded; None as items are. A prefix is always read by eager torch.
    adapter
        Folder of what encodes queries: a peft adapter over the weights, or an encoder of its own for the same tokens,
        of the same width. Items are encoded without it.
    said
        Conventions that count before those of the preset with this name and of the folder's files.

    Attributes
    ----------
    version
        Changes whenever encoded items would change: with weights, tokenizer, conventions, item length, projection or
        storage format; not with precision.
    query_version
        Changes whenever encoded queries would change, also with the adapter.
    engine, query_engine
        The engines in use for items and for queries, never ``"auto"``.
    folder
        Where the weights are.
    config
        The model's configuration.
    conventions
        All of them, as they are in use.
    dim
        Width D of pooled vectors and of a query's token states.
    token_dim
        Width T of an item's token states.

    Raises
    ------
    models.weights.WeightsError
        When the weights do not exist, are of a model that is not supported, or cannot read texts of these lengths.

    Examples
    --------
    >>> encoder = Encoder()
    >>> encoder.dim, encoder.version.startswith("all-MiniLM-L6-v2@")
    (384, True)
    >>> [item] = encoder.encode_items(["Red garden hose"])
    >>> item.tokens.shape, item.pooled.shape
    ((3, 156), (384,))
    >>> encoder.word_pieces(["Gardening gloves!", "儿童 gloves"])
    [['gardening', 'gloves', '!'], ['gloves', '儿童', '儿', '童']]
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
        query_engine: EngineName | None = None,
        adapter: Path | None = None,
        said: Conventions = UNSAID,
    ) -> None:
        self.folder = folder = resolve(weights)
        self.weights = weights
        self.adapter = adapter
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.max_item_tokens = max_item_tokens
        self.max_query_tokens = max_query_tokens
        self.conventions = conventions(weights, folder, said)
        self._pieces = _tokenizer(folder)
        self._unknown = next((id for id in map(self._pieces.token_to_id, ("[UNK]", "<unk>")) if id is not None), -1)
        model = self._load(folder, engine)
        self.config = model.config
        packed = self._packed(model, engine, lambda: self._load(folder, "eager"))
        self.engine = packed.engine
        self._wanted = packed.engine if query_engine in (None, "auto") else query_engine
        queries = packed if self._wanted == packed.engine and not adapter else self._adapted(adapter)
        if not adapter and queries.engine == packed.engine:
            queries = packed  # what was wanted is not installed
        self.query_engine = queries.engine
        self._items = _Side(packed, self.conventions.item_prefix or "", max_item_tokens)
        self._queries = _Side(queries, self.conventions.query_prefix or "", max_query_tokens)
        for side, name in ((self._items, "max_item_tokens"), (self._queries, "max_query_tokens")):
            self._check_length(side, name)
        self.dim = int(self.config.hidden_size)
        self.token_dim = min(token_dim, self.dim) or self.dim
        self._narrow = orthogonal(self.dim, self.token_dim)
        self._centres: dict[_Side, tuple[_Floats, _Floats]] = {}
        own = self.conventions
        as_items = _digest(own.item_prefix, own.pooling, own.centred, plain=("", "mean", False))
        self.version = f"{version(weights)}/i{max_item_tokens}t{self.token_dim}f{FORMAT}{as_items}"
        self.query_version = self._query_version()

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers has it, for pairs of texts and for copies of the model; loaded when asked for,
        since one of 250,000 pieces takes ten seconds and 0.6 GB that way."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)

    def with_queries(self, adapter: Path) -> "Encoder":
        """An encoder of the same items, which shares all but what queries are encoded by."""
        other = copy.copy(self)
        other.adapter, other._centres = adapter, {}
        reader = other._adapted(adapter)
        other._queries, other.query_engine = self._queries._replace(reader=reader), reader.engine
        other.query_version = other._query_version()
        return other

    def _query_version(self) -> str:
        own = self.version + _digest(self.conventions.query_prefix, plain=("",))
        return f"{own}+{fingerprint(self.adapter)}" if self.adapter else own

    def _load(self, folder: Path, engine: EngineName) -> Any:
        dtype = torch.float32 if engine == "openvino" else self.dtype
        filed = self.device.type == "cpu" and engine in ("auto", "eager")
        model: Any = load(folder, dtype, filed)
        if model.config.model_type not in KINDS:
            name = self.weights if folder == self.folder else folder
            raise WeightsError(f"{name} is a {model.config.model_type} model; supported are {' and '.join(KINDS)}")
        return model.to(self.device)

    def _adapted(self, adapter: Path | None) -> Reader:
        def made(engine: EngineName) -> Any:
            if adapter is not None and is_encoder(adapter):
                return self._own(adapter, engine)
            model = self._load(self.folder, engine)
            return model if adapter is None else lay_over(model, adapter).to(self.device, model.dtype)

        model = made(self._wanted)
        if is_prefix(model):
            return PrefixReader(model, self.device)
        return self._packed(model, self._wanted, lambda: made("eager"))

    def _packed(self, model: Any, engine: EngineName, plain: Callable[[], Any]) -> PackedReader:
        """A reader of a model. OpenVINO's is float32; where that is not installed, the plain one is read, as precise as
        was asked for."""
        reader = PackedReader(model, self.device, engine)
        if engine == "openvino" and reader.engine == "eager" and model.dtype != self.dtype:
            return PackedReader(plain(), self.device, "eager")
        return reader

    def _own(self, adapter: Path, engine: EngineName) -> Any:
        """A model that encodes queries alone."""
        try:
            model = self._load(adapter, engine)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"{adapter} holds no encoder of queries: {error}") from error
        if model.config.num_hidden_layers < 1:
            raise WeightsError(f"{adapter} encodes queries by no layers")
        for name in ("model_type", "hidden_size", "vocab_size"):
            if (theirs := getattr(model.config, name)) != (ours := getattr(self.config, name)):
                raise WeightsError(f"{adapter} encodes queries with a {name} of {theirs}, items have one of {ours}")
        if positions(model.config) < positions(self.config):
            raise WeightsError(f"{adapter} reads {positions(model.config)} tokens, less than the encoder of items")
        return model

    def _check_length(self, side: _Side, name: str) -> None:
        fits = min(positions(self.config), self.conventions.max_tokens or positions(self.config))
        [around] = self._split([""], side)
        if len(around.ids) + side.limit > fits:
            raise WeightsError(
                f"{self.weights} reads {fits} tokens, {len(around.ids)} of them a prefix and special ones: "
                f"set model.{name} to at most {fits - len(around.ids)}"
            )

    def warm_up(self, texts: int, pause: Callable[[float], object] = lambda _: None) -> None:
        """Run batches of short texts, each twice as large as the last, up to the given size. The first pass of a shape
        takes seconds with a compiled engine; later ones do not. ``pause`` is called after each with its duration, so
        that others get as much time."""
        self._items.reader.warm_up()
        self._queries.reader.warm_up()
        for count in (2**power for power in range(texts.bit_length())):
            began = time.perf_counter()
            self.encode_queries(["warm up"] * count)
            pause(time.perf_counter() - began)

    def encode_items(self, texts: Sequence[str]) -> list[EncodedItem]:
        """Items' texts to quantised token states and pooled vectors, in the order given."""
        encoded = self._encode(self._split(texts, self._items), self._items)
        return [
            EncodedItem.quantise(self._project(states), pooled, ids, trigrams(text))
            for (states, pooled, ids), text in zip(encoded, texts, strict=True)
        ]

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        """Queries to float32 token states and pooled vectors, in the order given."""
        return self._as_queries(texts, self._split(texts, self._queries))

    def read_queries(self, texts: Sequence[str]) -> list[tuple[EncodedQuery, Words]]:
        """Queries as :meth:`encode_queries` and :meth:`words` give them, tokenised once."""
        split = self._split(texts, self._queries)
        return list(zip(self._as_queries(texts, split), self._as_words(texts, split, self._queries), strict=True))

    def _as_queries(self, texts: Sequence[str], split: Sequence[_Split]) -> list[EncodedQuery]:
        encoded = self._encode(split, self._queries)
        # A copy: a view would keep the whole batch in memory for as long as one query of it is kept.
        return [
            EncodedQuery(states, pooled.copy(), fold(ids), trigrams(text))
            for (states, pooled, ids), text in zip(encoded, texts, strict=True)
        ]

    def word_pieces(self, texts: Sequence[str]) -> list[list[str]]:
        """The terms of each text for a lexical index, the same for items and queries: the model's word pieces of the
        folded text, pairs of characters of what is written without spaces, measures and model numbers.

        Words outside the vocabulary are kept as written, so that rare part numbers stay findable.
        """
        folded = [fold_text(_readable(text)) for text in texts]
        words = list(map(spaced, folded))
        encodings = self._pieces.encode_batch(words, add_special_tokens=False)
        return [
            [*self._terms(text, encoding), *grams(whole), *numbered(whole)]
            for whole, text, encoding in zip(folded, words, encodings, strict=True)
        ]

    def _terms(self, text: str, encoding: Any) -> Iterator[str]:
        for piece, token, (start, end) in zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True):
            term = text[start:end].strip() if token == self._unknown else piece.removeprefix(INITIAL)
            if term:
                yield term[:LONGEST_PIECE]

    def words(self, texts: Sequence[str], limit: int) -> list[Words]:
        """The words of each query's first pieces, as many as are encoded, and which word each piece belongs to.

        Examples
        --------
        >>> [found] = Encoder().words(["gardenhose 5ft long"], limit=5)
        >>> found.owner.tolist(), found.text
        ([0, 0, 0, 1, 1], 'gardenhose 5ft')
        """
        side = self._queries._replace(limit=limit)
        return self._as_words(texts, self._split(texts, side), side)

    @staticmethod
    def _as_words(texts: Sequence[str], split: Sequence[_Split], side: _Side) -> list[Words]:
        return [Words.of(_short(text, side), one.spans, one.known) for text, one in zip(texts, split, strict=True)]

    def _encode(self, split: Sequence[_Split], side: _Side) -> list[_Encoding]:
        """Content token states [n, D], pooled vector [D] and token ids [n] of each text, in the order given; the states
        are no views."""
        if not split:
            return []
        found = self._raw(split, side)
        if not self.conventions.centred:
            return found
        tokens, pooled = self._centre(side)
        return [(_unit(states - tokens), _unit(vector - pooled), ids) for states, vector, ids in found]

    def _raw(self, split: Sequence[_Split], side: _Side) -> list[_Encoding]:
        """As :meth:`_encode`, not centred."""
        found: list[_Encoding] = []
        places = iter(split)
        for batch in batches([one.ids for one in split]):
            states, pooled = self._states(batch, side.reader)
            start = 0
            for row, (ids, one) in enumerate(zip(batch, places, strict=False)):
                own = states[start : start + len(ids)][one.content]
                found.append((own, pooled[row], [ids[place] for place in one.content]))
                start += len(ids)
        return found

    def _centre(self, side: _Side) -> tuple[_Floats, _Floats]:
        """The mean of token states and of pooled vectors of :data:`SAMPLE`, each [D]."""
        if side not in self._centres:
            sample = self._raw(self._split(SAMPLE, side), side)
            tokens = np.concatenate([states for states, _, _ in sample]).mean(0)
            self._centres[side] = tokens, np.stack([vector for _, vector, _ in sample]).mean(0)
        return self._centres[side]

    def _states(self, texts: Sequence[list[int]], reader: Reader) -> tuple[_Floats, _Floats]:
        """All texts' unit-norm token states one after the other [sum of lengths, D], and pooled vectors [texts, D]."""
        states: _Floats = reader.read(texts).float().cpu().numpy()
        starts = np.cumsum([0, *map(len, texts[:-1])])
        sums = states[starts] if self.conventions.pooling == "cls" else np.add.reduceat(states, starts)
        return _unit(states), _unit(sums)

    def _project(self, states: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Token states [n, D] to unit-norm [n, T]."""
        narrow = states @ self._narrow
        rows: npt.NDArray[np.float32] = narrow / np.linalg.norm(narrow, axis=1, keepdims=True).clip(1e-9)
        return rows

    def token_ids(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Each text's token ids between the two special ones, cut after ``limit`` content tokens; without a prefix."""
        return [one.ids for one in self._split(texts, self._items._replace(prefix="", limit=limit))]

    def _split(self, texts: Sequence[str], side: _Side) -> list[_Split]:
        """Texts as tokens, cut after ``side.limit`` tokens of the text itself."""
        encodings = self._pieces.encode_batch([side.prefix + _short(text, side) for text in texts])
        return [self._cut(encoding, len(side.prefix), side.limit) for encoding in encodings]

    def _cut(self, encoding: Any, prefix: int, limit: int) -> _Split:
        tokens = list(zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True))
        last = len(tokens) - 1
        # A token that only begins a word says nothing; the model has it, but it is not matched.
        content = [
            place
            for place, (_, piece, (_, end)) in enumerate(tokens)
            if 0 < place < last and end > prefix and piece != INITIAL
        ][:limit]
        cut = last if not content or len(content) < limit else content[-1] + 1
        return _Split(
            [*encoding.ids[:cut], encoding.ids[last]],
            content,
            [(max(start - prefix, 0), end - prefix) for _, _, (start, end) in map(tokens.__getitem__, content)],
            [tokens[place][0] != self._unknown for place in content],
        )


def positions(config: Any) -> int:
    """The most tokens of a text that a model has positions for.

    Examples
    --------
    >>> positions(Encoder().config)
    512
    """
    return int(config.max_position_embeddings) - first_position(config)


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


def _tokenizer(folder: Path) -> Any:
    """The tokenizer without transformers around it; lengths and padding of its file are ignored, ours are the limits
    above."""
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        from transformers import AutoTokenizer

        pieces = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    pieces.no_padding()
    pieces.no_truncation()
    if len(pieces.encode("").ids) != 2:
        raise WeightsError(f"the tokenizer in {folder} does not put one special token before a text and one behind it")
    return pieces


def _digest(*values: object, plain: tuple[object, ...]) -> str:
    """A short name of values; empty if they are plain."""
    return "" if values == plain else "c" + hashlib.blake2b(repr(values).encode(), digest_size=3).hexdigest()


def _unit(rows: _Floats) -> _Floats:
    found: _Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True).clip(1e-9)
    return found


def _short(text: str, side: _Side) -> str:
    """The part of a text that the tokenizer reads."""
    return _readable(text[: side.limit * CHARACTERS_PER_TOKEN])


def _readable(text: str) -> str:
    """Lone surrogates, which the tokenizer refuses, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
