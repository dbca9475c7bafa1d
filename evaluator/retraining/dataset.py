"""What a run is taught and judged by: labelled examples with their texts, in slices. Pure but for the archive it reads.

Saved, so that a run that was cut off goes on with the very same examples.
"""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from evaluator.attribution.example import Labelled
from evaluator.attribution.labels import Context, example
from evaluator.metrics.position_bias import Positions
from evaluator.retraining.config import LearningConfig
from evaluator.retraining.slices import slices
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.weighing import weighed
from models.training.examples import Example
from models.training.rehearsal import rehearse

END = 1 << 62


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """Three slices of examples; ``train`` has older ones among it.

    ``rehearsed`` is how many these are, ``without_text`` how many examples were left out because nothing is known of
    their item or context. ``since`` and ``until`` are the times of the first and the last one to train on, ``through``
    is that of the newest of all slices (epoch ms).
    """

    train: list[Example]
    calibrate: list[Example]
    gate: list[Example]
    rehearsed: int
    without_text: int
    since: int
    until: int
    through: int


def recent(archive: Archive, config: LearningConfig, since: int = 0) -> list[Labelled]:
    """The newest examples, in the order of time: none from before ``since``, none too old, and not too many."""
    newest, enough = archive.newest() or 0, archive.back(END, config.most_examples) or 0
    some = archive.read(max(since, newest - int(config.window_s * 1_000), enough), END)
    return list(deque(some, maxlen=config.most_examples))  # several may be of the first moment


def lesson(
    some: Iterable[Labelled],
    older: Iterable[Labelled],
    text: Callable[[str], str | None],
    config: LearningConfig,
    seed: int = 0,
) -> Lesson:
    """Slices of recent examples in the order of time, with older ones among those to train on.

    Parameters
    ----------
    text
        An item's text; None for one that is gone.

    Raises
    ------
    ExamplesError
        When a slice would be empty.
    """
    made = [(one, _example(one, text)) for one in some]
    cut = slices([one for one, told in made if told], config)
    told = [one for _, one in made if one]
    first, second = len(cut.train), len(cut.train) + len(cut.calibrate)
    # Calibration and gate see what was shown as it came: probabilities are those of clicks, wherever an item stood.
    train = weighed(told[:first], _positions(cut.train)) if config.debias else told[:first]
    again = rehearse(train, [one for old in older if (one := _example(old, text))], config.rehearsal, seed)
    return Lesson(
        train=again,
        calibrate=told[first:second],
        gate=told[second:],
        rehearsed=len(again) - first,
        without_text=len(made) - len(told),
        since=cut.train[0].ts,
        until=cut.train[-1].ts,
        through=cut.gate[-1].ts,
    )


def _example(one: Labelled, text: Callable[[str], str | None]) -> Example | None:
    context = Context(one.query, tuple(one.history), tuple(one.asked), tuple(one.weights))
    made = example(one, context, text)
    return made and msgspec.structs.replace(made, popularity=one.popularity)


def _positions(some: Iterable[Labelled]) -> Positions:
    positions = Positions()
    for one in some:
        positions.update(one.query or one.shopper, one.item_id, one.position, one.intent != "ignore")
    return positions
