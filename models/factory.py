"""Makes a scorer from the name of its architecture."""

from collections.abc import Callable
from pathlib import Path

from models.constant import ConstantScorer
from models.cross_encoder import CrossEncoderScorer
from models.encoder import Encoder, Precision
from models.item_store import ItemStore
from models.late_interaction import LateInteraction, LateInteractionScorer
from models.scorer import Architecture, Scorer


def build(
    architecture: Architecture,
    encoder: Encoder,
    item_store: ItemStore,
    item_text: Callable[[int], str],
    *,
    head: Path | None = None,
    cross_encoder: Path | None = None,
    precision: Precision = "auto",
) -> Scorer:
    """Make a scorer.

    Parameters
    ----------
    architecture
        The name of the architecture.
    encoder
        The encoder of the stored items and of queries.
    item_store, item_text
        A slot's encoded item, and its text; each architecture uses one of them.
    head, cross_encoder
        Folders of a trained late-interaction head and of a trained classifier. Without them untrained ones are made,
        the classifier over the encoder's weights.
    precision
        The precision of the scorer.

    Examples
    --------
    >>> build("constant", None, None, str).version  # type: ignore[arg-type]
    'constant'
    """
    match architecture:
        case "late_interaction":
            trained = LateInteraction.load(head) if head else None
            return LateInteractionScorer(
                item_store, trained, encoder_version=encoder.query_version, precision=precision
            )
        case "cross_encoder":
            weights = str(cross_encoder) if cross_encoder else encoder.weights
            return CrossEncoderScorer(item_text, weights, precision=precision, device=str(encoder.device))
        case "constant":
            return ConstantScorer()
