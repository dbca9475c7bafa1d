"""An edition: what a worker serves with. One version of the model, loaded, and the catalogue as its encoder made it.

Knows the models and their store; nothing of Kafka, nor of when one edition takes another's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.encoder import Encoder
from models.factory import build
from models.scorer import Scorer
from models.store import Store
from models.store.parts import Parts, parts
from streams.catalogue import Catalogue
from streams.charge import UNTRAINED
from streams.config import ModelConfig
from streams.context import Queries


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """A version's parts, loaded; and queries as its encoder reads them."""

    parts: Parts
    encoder: Encoder
    catalogue: Catalogue
    scorer: Scorer
    queries: Queries

    @property
    def version(self) -> str:
        """The version's id, or ``UNTRAINED``."""
        return self.parts.version or UNTRAINED

    @property
    def name(self) -> str:
        """The version's id, or the weights where none is served."""
        return self.parts.version or self.parts.weights


def fetch(version: str, model: ModelConfig) -> Parts:
    """A version's parts, on this machine and checked; those of the settings where it is ``UNTRAINED``.

    Raises
    ------
    models.store.errors.StoreError
        When there is no such version, or a file of it is missing or damaged.
    """
    if version == UNTRAINED:
        return Parts(architecture=model.architecture, weights=model.weights)
    return parts(Store(model.store), version)


def load(chosen: Parts, model: ModelConfig, beside: Sequence[Edition] = ()) -> Edition:
    """Load a version; takes seconds, and may run in a thread while another edition serves.

    Parameters
    ----------
    beside
        Editions that are held. What is the same is shared with them: an encoder that reads queries the same way and
        what it made of them, a catalogue where it makes the same of items.

    Raises
    ------
    models.weights.WeightsError
        When a part is damaged, or the parts do not fit each other.
    """
    wanted = chosen.weights, chosen.adapter
    same = next((other for other in beside if (other.parts.weights, other.parts.adapter) == wanted), None)
    encoder = same.encoder if same is not None else _encoder(chosen, model)
    catalogues = (other.catalogue for other in beside if other.encoder.version == encoder.version)
    catalogue = next(catalogues, None)
    if catalogue is None:
        catalogue = Catalogue(encoder)
    scorer = build(
        chosen.architecture,
        encoder,
        catalogue.memory,
        catalogue.title,
        head=chosen.head,
        cross_encoder=chosen.cross_encoder,
        precision=model.precision,
    )
    return Edition(chosen, encoder, catalogue, scorer, same.queries if same is not None else Queries(encoder))


def _encoder(chosen: Parts, model: ModelConfig) -> Encoder:
    return Encoder(
        chosen.weights,
        precision=model.precision,
        max_item_tokens=model.max_item_tokens,
        max_query_tokens=model.max_query_tokens,
        device=model.device,
        engine=model.engine,
        adapter=chosen.adapter,
    )
