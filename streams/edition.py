"""An edition: what a worker serves with. One version of the model, loaded, and the catalogue as its encoder made it.

Knows the models and their store; nothing of Kafka, nor of when one edition takes another's place.
"""

from dataclasses import dataclass

from models.encoder import Encoder
from models.factory import build
from models.scorer import Scorer
from models.store.parts import Parts
from streams.catalogue import Catalogue
from streams.config import ModelConfig


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """A version's parts, loaded."""

    parts: Parts
    encoder: Encoder
    catalogue: Catalogue
    scorer: Scorer

    @property
    def name(self) -> str:
        """The version's id, or the weights where none is served."""
        return self.parts.version or self.parts.weights


def load(chosen: Parts, model: ModelConfig, beside: Edition | None = None) -> Edition:
    """Load a version; takes seconds, and may run in a thread while another edition serves.

    Parameters
    ----------
    beside
        The edition that serves. What is the same in both is shared: the encoder where it reads queries the same way,
        the catalogue where it makes the same of items.

    Raises
    ------
    models.weights.WeightsError
        When a part is damaged, or the parts do not fit each other.
    """
    if beside is not None and (beside.parts.weights, beside.parts.adapter) == (chosen.weights, chosen.adapter):
        encoder = beside.encoder
    else:
        encoder = Encoder(
            chosen.weights,
            precision=model.precision,
            max_item_tokens=model.max_item_tokens,
            max_query_tokens=model.max_query_tokens,
            device=model.device,
            engine=model.engine,
            adapter=chosen.adapter,
        )
    shared = beside is not None and beside.encoder.version == encoder.version
    catalogue = beside.catalogue if beside is not None and shared else Catalogue(encoder)
    scorer = build(
        chosen.architecture,
        encoder,
        catalogue.memory,
        catalogue.title,
        head=chosen.head,
        cross_encoder=chosen.cross_encoder,
        precision=model.precision,
    )
    return Edition(chosen, encoder, catalogue, scorer)
