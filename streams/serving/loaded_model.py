"""A loaded model: one version of the model, and the catalogue as its encoder encodes it. A worker serves with it.

A version that fails the check of :mod:`models.check` is not loaded.
Knows the models and their store; nothing of Kafka, nor of when one loaded model replaces another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models import check
from models.conventions import conventions
from models.encoder import Encoder
from models.factory import build
from models.scorer import Scorer
from models.store import ModelStore, StoreError
from models.store.errors import transient
from models.store.parts import Parts, parts
from models.weights import WeightsError, fingerprint, require_finite, resolve
from streams.catalog.catalog import Catalog
from streams.config import ModelConfig
from streams.ranking.context import Queries
from streams.ranking.feeds import FeedRanker
from streams.serving.slots import UNTRAINED


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A version's parts, loaded, queries encoded by its encoder, and what ranks its feeds.

    ``sample`` is what it was checked on. ``engaged`` is the mean probability of an interaction it predicted there.
    """

    parts: Parts
    encoder: Encoder
    catalogue: Catalog
    scorer: Scorer
    queries: Queries
    feeds: FeedRanker
    sample: check.Sample
    engaged: float

    @property
    def version(self) -> str:
        """The version's id, or ``UNTRAINED``."""
        return self.parts.version or UNTRAINED

    @property
    def name(self) -> str:
        """The version's id, or the name of the weights if it has no version."""
        return self.parts.version or self.parts.weights


def fetch(version: str, model: ModelConfig) -> Parts:
    """A version's parts, copied to this machine and checked. For ``UNTRAINED``, the parts that the settings name.

    Raises
    ------
    models.store.errors.StoreError
        When there is no such version, or a file of it is missing or damaged.
    """
    if version == UNTRAINED:
        return Parts(architecture=model.architecture, weights=model.weights, said=model.said)
    return parts(ModelStore(model.store), version)


def load(chosen: Parts, model: ModelConfig, loaded: Sequence[LoadedModel] = ()) -> LoadedModel:
    """Load a version. Takes seconds, and may run in a thread while another model serves.

    Parameters
    ----------
    loaded
        Models that are loaded already. The new model shares with them what is equal: the encoder and its encoded
        queries if the weights are the same, the catalogue if the encoder version is the same.

    Raises
    ------
    models.weights.WeightsError
        When a part is damaged, the parts do not fit each other, or they fail a check, as the message says.
    """
    same = next((other for other in loaded if _same_encoder(other, chosen)), None)
    folders = [chosen.adapter, resolve(chosen.weights)] if same is None else []
    for folder in (chosen.head, chosen.cross_encoder, *folders):
        if folder is not None:
            require_finite(folder)
    encoder = same.encoder if same is not None else _encoder(chosen, model)
    # A shared encoder computes in another thread now, so it is not run here too: it was checked before.
    sample = same.sample if same is not None else check.Sample(encoder)
    catalogues = (other.catalogue for other in loaded if other.encoder.version == encoder.version)
    catalogue = next(catalogues, None)
    if catalogue is None:
        catalogue = Catalog(encoder)
    make = partial(
        build,
        chosen.architecture,
        encoder,
        head=chosen.head,
        cross_encoder=chosen.cross_encoder,
        precision=model.precision,
    )
    engaged = sample.engaged(make, learned=bool(chosen.version or chosen.head or chosen.cross_encoder))
    scorer = make(catalogue.item_store, catalogue.title)
    queries = same.queries if same is not None else Queries(encoder)
    return LoadedModel(chosen, encoder, catalogue, scorer, queries, feed_ranker(chosen), sample, engaged)


def feed_ranker(chosen: Parts) -> FeedRanker:
    """What ranks a version's feeds: its own ranker, or the one that comes with Liveshelf.

    Raises
    ------
    models.weights.WeightsError
        When the ranker is damaged, or needs features that are not computed here.
    """
    trained = chosen.head is not None or chosen.cross_encoder is not None
    if chosen.ranker is None:
        return FeedRanker.packaged(trained=trained)
    return FeedRanker.load(chosen.ranker, trained=trained)


def examine(version: str, model: ModelConfig, champion: str | None = None) -> None:
    """Check a version as a worker does when it loads it, and compare it with the champion. Takes seconds.

    Parameters
    ----------
    champion
        The champion's version, if there is one. If its files are refused, there is no comparison.

    Raises
    ------
    models.store.errors.StoreError
        When there is no such version, or it fails a check; the message says which one.
    """
    before: LoadedModel | None = None
    if champion is not None and champion != version:
        try:
            before = load(fetch(champion, model), model)
        except (StoreError, WeightsError, ValueError, RuntimeError) as error:
            if transient(error):
                raise
    try:
        candidate = load(fetch(version, model), model, [before] if before is not None else [])
        if before is not None:
            check.within(candidate.engaged, before.engaged)
    except WeightsError as error:
        raise StoreError(f"{version} is refused: {error}. Train it again, or take another version.") from error


def _same_encoder(loaded: LoadedModel, chosen: Parts) -> bool:
    """Whether a loaded model's encoder is the one that these parts need."""
    own, encoder = loaded.parts, loaded.encoder
    return (
        own.weights == chosen.weights
        and _same_queries(encoder, chosen.adapter)
        and conventions(chosen.weights, encoder.folder, chosen.said) == encoder.conventions
    )


def _same_queries(encoder: Encoder, adapter: Path | None) -> bool:
    """Whether an encoder's queries are encoded by an adapter, or by an equal one: an update of the head copies it."""
    if encoder.adapter is None or adapter is None:
        return encoder.adapter is adapter
    return encoder.adapter == adapter or encoder.query_version.endswith(f"+{fingerprint(adapter)}")


def _encoder(chosen: Parts, model: ModelConfig) -> Encoder:
    return Encoder(
        chosen.weights,
        precision=model.precision,
        max_item_tokens=model.max_item_tokens,
        max_query_tokens=model.max_query_tokens,
        device=model.device,
        engine=model.engine,
        query_engine=model.query_engine,
        adapter=chosen.adapter,
        said=chosen.said,
    )
