"""What follows the colon in a contender's name, checked before anything is loaded: a folder, a hub name, a version, a
language, a number.

Knows files of models and the store. Loads no model and no heavy library, so that a wrong name is told at once.
"""

import json
from pathlib import Path

import Stemmer

from evaluator.offline.contenders.contender import ContenderError, parameter
from models.intents import INTENTS
from models.store.parts import Parts, parts
from models.store.store import ModelStore
from models.weights import PACKAGED, resolve


def encoder_weights(name: str) -> Path:
    """The folder of a bi-encoder; of the packaged one without a name.

    Raises
    ------
    models.weights.WeightsError
        When there is no such model.
    """
    return resolve(name or PACKAGED)


def scorer_weights(name: str) -> Parts:
    """The parts of our late-interaction scorer: a folder with a trained head, or the weights of an encoder.

    Raises
    ------
    models.weights.WeightsError
        When there are no such weights.
    """
    config = Path(name).expanduser() / "config.json"
    if name and config.is_file() and "kernels" in json.loads(config.read_text("utf-8")):
        return Parts(head=config.parent)
    resolve(name or PACKAGED)
    return Parts(weights=name or PACKAGED)


def classifier(name: str) -> tuple[Path, int]:
    """The folder of a cross-encoder, and how many outputs it has.

    Raises
    ------
    ContenderError
        When the model has no classification head, or one with neither one output nor one for each intent.
    models.weights.WeightsError
        When there is no such model.

    Examples
    --------
    >>> classifier("packaged")
    Traceback (most recent call last):
    evaluator.offline.contenders.contender.ContenderError: packaged has no classification head: it is no ...
    """
    folder = resolve(name or PACKAGED)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if not any("SequenceClassification" in one for one in config.get("architectures") or ()):
        said = f"{name or PACKAGED} has no classification head: it is no cross-encoder."
        raise ContenderError(f"{said} Use cosine:{name or PACKAGED}.")
    outputs = len(config.get("id2label") or {0: "", 1: ""})
    if outputs not in {1, len(INTENTS)}:
        raise ContenderError(f"{name} has {outputs} outputs: a cross-encoder has one, or the four of the intents.")
    return folder, outputs


def of_store(rest: str) -> Parts:
    """The parts of a version: STORE#NAME, a name being an id, its beginning, or a slot such as ``champion``.

    Raises
    ------
    ContenderError
        When the text has not that form.
    models.store.errors.StoreError
        When there is no such version, or it cannot be read.
    """
    store, _, name = rest.rpartition("#")
    if not store or not name:
        raise ContenderError(
            "A version is named by its store's folder and its name, such as version:.liveshelf/models#champion."
        )
    return parts(ModelStore(store), name)


def number(rest: str) -> float:
    """A number, or nothing.

    Raises
    ------
    ContenderError
        When it is no number.
    """
    return parameter(rest, 0.0)


def language(rest: str) -> str:
    """A language that words can be stemmed in; English without a name.

    Raises
    ------
    ContenderError
        When there are no stems of it.

    Examples
    --------
    >>> language(""), language("german")
    ('english', 'german')
    """
    if rest and rest not in (known := Stemmer.algorithms()):
        raise ContenderError(f"There are no stems of the language {rest!r}; there are those of {', '.join(known)}.")
    return rest or "english"


CHECKS = {
    "bm25": language,
    "cosine": encoder_weights,
    "late_interaction": scorer_weights,
    "cross_encoder": classifier,
    "version": of_store,
    "ease": number,
    "item_knn": number,
    "lambdamart": number,
}
