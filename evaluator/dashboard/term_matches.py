"""A search shelf word by word: which word of each item every word of the query matches, and how well.

The model is loaded at the first question, since it takes seconds and a few hundred megabytes that a page of figures
does not need. It is the champion, as a worker would serve it; an answer says where another version made the shelf.
Knows the scorer and texts; nothing of Redis or HTTP.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from models.scorer import ScoreRequest
from models.words import Words
from streams.config import ModelConfig

if TYPE_CHECKING:  # torch comes with the model, at the first question
    from models.encoder import Encoder
    from models.late_interaction import LateInteractionScorer
    from streams.serving.loaded_model import LoadedModel

log = logging.getLogger(__name__)


class Cell(msgspec.Struct, frozen=True):
    """A query's word in an item: the item's nearest word, their cosine, and whether the shelf's reason names it."""

    word: str
    cosine: float
    named: bool


class MatchRow(msgspec.Struct, frozen=True):
    """An item; ``cells`` are in the order of the query's words, None for a word that was not read."""

    place: int
    item_id: str
    text: str
    cells: list[Cell | None]


class Matches(msgspec.Struct, frozen=True):
    """The answer: a sentence, the query's words, and the items whose texts are known."""

    said: str
    words: list[str] = []
    rows: list[MatchRow] = []


class TermMatches:
    """Explains search shelves; loads the model when first asked. May be called from several threads.

    Parameters
    ----------
    model
        The settings of the workers' model; it runs on the processor here.
    load
        Loads it.
    """

    def __init__(self, model: ModelConfig, load: "Callable[[ModelConfig], LoadedModel] | None" = None) -> None:
        self._config = model.model_copy(update={"device": "cpu", "engine": "eager"})
        self._load = load or _load
        self._lock = threading.Lock()
        self._loaded: LoadedModel | None = None
        self._asked: str | None = None

    def get(self, query: str, items: Sequence[tuple[str, str | None]], version: str) -> Matches:
        """Match a query with a shelf's items, given their ids and texts, and the version of the scorer that made it.

        Raises
        ------
        models.store.errors.StoreError, models.weights.WeightsError
            When no model can be loaded.
        """
        from models.late_interaction import LateInteractionScorer

        with self._lock:
            loaded = self._model(version)
            scorer = loaded.scorer
            if not isinstance(scorer, LateInteractionScorer):
                return Matches(f"The model is a {scorer.name}: it does not match word by word.")
            known = [(place, item, text) for place, (item, text) in enumerate(items, 1) if text]
            rows, words = _rows(loaded.encoder, scorer, query, known)
        said = "Each cell: the item's nearest word, and their cosine. Bold words are named as the reason."
        if scorer.version != version:
            said += f" Another version made this shelf ({version}); the matches are those of {scorer.version}."
        return Matches(said, words, rows)

    def _model(self, version: str) -> "LoadedModel":
        """The champion; loaded again where a shelf comes from a version that was not asked for before."""
        if self._loaded is None or version not in (self._loaded.scorer.version, self._asked):
            log.info("loading the model to explain shelves word by word")
            self._loaded = self._load(self._config)
        self._asked = version
        return self._loaded


def _load(model: ModelConfig) -> "LoadedModel":
    from streams.serving.switcher import first

    return first(model)[0]


def _rows(
    encoder: "Encoder", scorer: "LateInteractionScorer", query: str, items: Sequence[tuple[int, str, str]]
) -> tuple[list[MatchRow], list[str]]:
    from models.item_store import ItemStore

    [encoded], [asked] = encoder.encode_queries([query]), encoder.words([query], encoder.max_query_tokens)
    words = [asked.text[start:end] for start, end in asked.spans]
    if not items or not len(encoded.tokens):
        return [], words
    texts = [text for _, _, text in items]
    store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens, capacity=len(texts))
    store.put_many(range(len(texts)), encoder.encode_items(texts))
    over = scorer.over(store)
    slots = np.arange(len(texts))
    pairs = over.term_matches(encoded, slots)
    [found] = over.contributions([ScoreRequest(slots, encoded)])
    sizes = asked.sums(found.weights)
    named = [{place for one in some for place in one.places} for some in asked.named(found.pieces, found.weights)]
    rows = []
    for (place, item, text), read, pieces, own in zip(
        items, encoder.words(texts, encoder.max_item_tokens), pairs, named, strict=True
    ):
        shares = asked.sums(read.sums(pieces[:, : len(read.owner)]).T).T  # [query's words, item's words]
        rows.append(MatchRow(place, item, text, _cells(shares, sizes, read, own)))
    return rows, words


def _cells(shares: np.ndarray, sizes: np.ndarray, read: Words, named: set[int]) -> list[Cell | None]:
    cells: list[Cell | None] = []
    for word, (row, size) in enumerate(zip(shares, sizes.tolist(), strict=True)):
        if not size or not len(row):
            cells.append(None)
            continue
        start, end = read.spans[int(row.argmax())]
        cells.append(Cell(read.text[start:end], round(float(row.sum()) / size, 2), word in named))
    return cells
