"""A simulated shop with several models: the logs that its champion leaves, and how shoppers really take each model.

Knows the simulation, models and the evaluation's contenders; nothing of what is made of their figures. Nobody here sees
a shopper's past: a ranking depends on the query alone.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from evaluator.gate.dataset import GateRequest, Served, answers
from evaluator.offline.contenders import contender
from evaluator.offline.contenders.bert import Cosine
from evaluator.offline.contenders.contender import Contender
from evaluator.offline.data import Case, Document, EvaluationData, Task
from liveshelf.demo.catalogs import made_up
from liveshelf.simulation.drift import Fashion
from liveshelf.simulation.taste import Aim, asked
from liveshelf.simulation.visit import PAGE
from liveshelf.simulation.world import World
from models.encoder import Encoder
from models.late_interaction import LateInteraction
from models.store.parts import Parts
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, expected_level
from models.training.run import Run
from streams.catalog.embedding import text
from streams.events.schema import Click
from streams.events.shelf import Shelf, ShelfItem

Numbers = npt.NDArray[np.float64]

LOGS = ("champion's shelves", "its items, shuffled", "random items", "judged pools")
"""What offline measures are computed on."""

SECOND_MS = 1_000

CHAMPIONS = ("bm25", "cosine", "untrained", "head, few")

HEADS = {"head": 1.0, "head, few": 0.1, "head, shuffled labels": 1.0}
"""Heads that are trained, on this share of the training log."""

EPOCHS = 8
"""So many that shuffled labels do harm."""

SPOILT = 1.5
"""Standard deviation of the noise on a spoilt head's weights, in theirs."""

SOFT = 0.7
"""Of the order by which the training log was shown: Gumbel noise on standardised scores."""

GRADES = 3
JUDGED = 5
"""Judges give grades from 0 to so many, to the first so many items of every model."""

DOUBT = 0.15
"""Standard deviation of a judge's error, in the liking."""


class Visit(NamedTuple):
    """A shopper's visit: what they looked for, what was shown, and what they clicked."""

    shopper: str
    aim: Aim
    shown: tuple[str, ...]
    clicked: frozenset[str]


@dataclass(frozen=True)
class Scale:
    """Sizes: items and shoppers at most, visits to learn from, of a log and of each arm, pages of the truth."""

    items: int = 160
    shoppers: int = 240
    train: int = 800
    log: int = 500
    arm: int = 400
    pages: int = 400

    def times(self, factor: float) -> "Scale":
        """All sizes times a factor, but 60 at least; nothing grows but the visits."""
        visits = (self.train, self.log, self.arm, self.pages)
        crowd = (self.items, self.shoppers)
        return Scale(
            *(max(60, round(min(1.0, factor) * one)) for one in crowd),
            *(max(60, round(factor * one)) for one in visits),
        )


class Head:
    """A head of the late-interaction scorer as a contender; the encoder and the encoded items are shared."""

    def __init__(self, folder: Path | None, encoder: Encoder, items: FrozenItems) -> None:
        self.served = Served(Parts(head=folder), encoder, items)

    def fit(self, data: EvaluationData) -> None:
        """Nothing to learn."""
        self._items = data.items

    def probabilities(self, cases: Sequence[Case]) -> list[Numbers]:
        """float64 [n, 4] per case."""
        asked_for = [GateRequest(case.query, (), tuple(self._items[one].text for one in case.items)) for case in cases]
        return [part.astype(np.float64) for part in answers(self.served, asked_for)]

    def score(self, cases: Sequence[Case]) -> list[Numbers]:
        """The expected level."""
        return [expected_level(part.astype(np.float32)).astype(np.float64) for part in self.probabilities(cases)]


class ModelShop:
    """One shop. Its catalogue, its shoppers' tastes, what is in fashion, and the champion are drawn by the seed.

    Attributes
    ----------
    scores
        Each model's scores of all items, by query.
    probabilities
        The same of the four intents, float64 [items, 4], of models that give them.
    """

    def __init__(self, seed: int, scale: Scale, encoder: Encoder, folder: Path) -> None:
        self.seed, self.scale, self.encoder, self.folder = seed, scale, encoder, folder
        self.chance = np.random.default_rng(seed)
        self.items = made_up(seed, int(self.chance.integers(scale.items // 2, scale.items + 1)))
        self.shoppers = int(self.chance.integers(scale.shoppers // 2, scale.shoppers + 1))
        self.fashion = float(self.chance.uniform(0.1, 1.0))
        self.champion = CHAMPIONS[seed % len(CHAMPIONS)]
        self.ids = tuple(item.item_id for item in self.items)
        self.places = {item_id: place for place, item_id in enumerate(self.ids)}
        self.documents = {item.item_id: Document(text(item), item.brand, item.category) for item in self.items}
        ways = [(item, length, brand) for item in self.items for length in (0.5, 0.9) for brand in (0.1, 0.9)]
        self.queries = list(dict.fromkeys(asked(*way).query for way in ways))
        self.scores: dict[str, dict[str, Numbers]] = {}
        self.probabilities: dict[str, dict[str, Numbers]] = {}
        self._models()

    def world(self) -> World:
        """The shop anew, nobody has been there."""
        return World(self.items, self.seed, self.shoppers, drifts=[Fashion(0.0, factor=self.fashion)])

    def ranking(self, model: str, query: str) -> list[str]:
        """All items, best first."""
        return [self.ids[place] for place in np.argsort(-self.scores[model][query], kind="stable")]

    def visits(self, count: int, rank: Callable[[Aim], Sequence[str]], arm: int = 0, arms: int = 1) -> Iterator[Visit]:
        """Visits in which shoppers search and see a shelf; of one of several arms, those that have none in common."""
        world = self.world()
        names = world.ids[arm::arms]
        for number in range(count):
            name, now = names[number % len(names)], SECOND_MS * (number + 1)
            world.act(name, None, now)
            aim = world.aim(name)
            shown = tuple(rank(aim)[:PAGE])
            events = world.act(name, _shelf(f"{arm}-{number}", shown, now), now + SECOND_MS // 2)
            yield Visit(name, aim, shown, frozenset(one.item_id for one in events if isinstance(one, Click)))

    def truth(self) -> dict[str, Numbers]:
        """Expected clicks of each model's shelf on the same pages, in closed form: float64 [pages] by model."""
        world, found = self.world(), dict[str, list[float]]()
        for number in range(self.scale.pages):
            name, now = world.ids[number % len(world.ids)], SECOND_MS * (number + 1)
            world.act(name, None, now)
            aim = world.aim(name)
            for model in self.scores:
                shelf = self.ranking(model, aim.query)[:PAGE]
                found.setdefault(model, []).append(PAGE * world.expected_ctr(shelf, name, aim, now))
            shelf = self.ranking(self.champion, aim.query)[:PAGE]
            world.act(name, _shelf(str(number), shelf, now), now + SECOND_MS // 2)
        return {model: np.array(some) for model, some in found.items()}

    @cached_property
    def logs(self) -> Mapping[str, tuple[Task, list[Case]]]:
        """Each of :data:`LOGS`: the champion's own shelves; its ten items in random order; ten random items; and pools
        of what any model has on top, judged."""
        chance, count = self.chance, self.scale.log
        own = list(self.visits(count, lambda aim: self.ranking(self.champion, aim.query)))
        stirred = self.visits(
            count, lambda aim: chance.permutation(self.ranking(self.champion, aim.query)[:PAGE]).tolist()
        )
        drawn = self.visits(count, lambda _: chance.permutation(self.ids)[:PAGE].tolist())
        found: list[tuple[Task, list[Case]]] = [
            ("clicks", [_case(number, one) for number, one in enumerate(own)]),
            ("clicks", [_case(number, one, 1 / PAGE) for number, one in enumerate(stirred)]),
            ("clicks", [_case(number, one, 1 / len(self.ids), self.ids) for number, one in enumerate(drawn)]),
            ("graded", list(self._judgements(own))),
        ]
        return dict(zip(LOGS, found, strict=True))

    def _judgements(self, visits: Sequence[Visit]) -> Iterator[Case]:
        """Grades by a judge, who is a shopper too, of the first items of every model; once for each query."""
        world = self.world()
        for query, aim in {one.aim.query: one.aim for one in visits}.items():
            pool = dict.fromkeys(item for model in self.scores for item in self.ranking(model, query)[:JUDGED])
            judge = world.ids[zlib.crc32(query.encode()) % len(world.ids)]
            liking = np.array([world.liking(judge, item, aim, SECOND_MS) for item in pool])
            seen = np.clip(liking + DOUBT * self.chance.normal(size=len(liking)), 0, 1)
            yield Case(query, tuple(pool), np.rint(GRADES * seen), query)

    def _models(self) -> None:
        train_log = self._training_log()
        cases = [Case(query, self.ids, np.full(len(self.ids), np.nan), query) for query in self.queries]
        train = [_case(number, one) for number, one in enumerate(train_log)]
        data = EvaluationData(f"shop {self.seed}", "clicks", cases, train, self.documents)
        for name, model in self._contenders(train_log).items():
            model.fit(data)
            self.scores[name] = dict(zip(self.queries, model.score(cases), strict=True))
            if isinstance(model, Head):
                self.probabilities[name] = dict(zip(self.queries, model.probabilities(cases), strict=True))

    def _training_log(self) -> list[Visit]:
        """Visits of the time before, when the shop ranked by words, and now and then otherwise."""
        bm25 = contender.make("bm25")
        cases = [Case(query, self.ids, np.full(len(self.ids), np.nan), query) for query in self.queries]
        bm25.fit(EvaluationData(f"shop {self.seed}", "clicks", cases, [], self.documents))
        scores = {
            case.query: found / max(1e-9, found.std()) for case, found in zip(cases, bm25.score(cases), strict=True)
        }

        def rank(aim: Aim) -> list[str]:
            noisy = scores[aim.query] + SOFT * self.chance.gumbel(size=len(self.ids))
            return [self.ids[place] for place in np.argsort(-noisy)]

        return list(self.visits(self.scale.train, rank))

    def _contenders(self, log: Sequence[Visit]) -> dict[str, Contender]:
        texts = FrozenItems(self.encoder, [one.text for one in self.documents.values()])
        cosine = Cosine.__new__(Cosine)
        cosine.encoder = self.encoder
        found: dict[str, Contender] = {name: contender.make(name) for name in ("random", "popularity", "bm25")}
        found |= {"cosine": cosine, "untrained": Head(None, self.encoder, texts)}
        for name, share in HEADS.items():
            folder = self._trained(name, log[: max(20, round(share * len(log)))], texts)
            found[name] = Head(folder, self.encoder, texts)
        found["head, spoilt"] = Head(self._spoilt(self.folder / "head"), self.encoder, texts)
        return found

    def _trained(self, name: str, log: Sequence[Visit], texts: FrozenItems) -> Path:
        examples = list(self._examples(log, shuffled="shuffled" in name))
        held = len(examples) // (5 * PAGE) * PAGE
        config = TrainConfig(
            folder=self.folder / "run", report_to=(), evaluations=1, progress=False, seed=self.seed, epochs=EPOCHS
        )
        trained = Run(self.encoder, config, items=texts).train(examples[:-held], examples[-held:])
        folder = self.folder / name.replace(", ", "-").replace(" ", "-")
        trained.save(folder)
        return folder / "head"

    def _examples(self, log: Sequence[Visit], shuffled: bool) -> Iterator[Example]:
        for visit in log:
            clicked = [item in visit.clicked for item in visit.shown]
            for place, (item, click) in enumerate(
                zip(visit.shown, self.chance.permutation(clicked).tolist() if shuffled else clicked, strict=True)
            ):
                yield Example(
                    query=visit.aim.query,
                    item=self.documents[item].text,
                    intent="look" if click else "ignore",
                    position=place,
                    shopper=visit.shopper,
                )

    def _spoilt(self, folder: Path) -> Path:
        """The head with noise on its weights."""
        head = LateInteraction.load(folder / "head")
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for weights in head.parameters():
                noise = torch.randn(weights.shape, generator=generator)
                weights.add_(SPOILT * noise * (weights.std() if weights.numel() > 1 else weights.abs()))
        head.save(self.folder / "spoilt")
        return self.folder / "spoilt"


def _shelf(name: str, items: Sequence[str], now: int) -> Shelf:
    shown = [ShelfItem(item, 0.0, 0.0, 0.0, 0.0, "") for item in items]
    return Shelf(shelf_id=name, surface="search", model="m", arm="champion", made_at=now, event_ts=now, items=shown)


def _case(number: int, visit: Visit, propensity: float | None = None, candidates: Sequence[str] | None = None) -> Case:
    """A visit as a case: what was shown, then further candidates that nobody has seen."""
    further = [item for item in candidates or () if item not in visit.shown]
    unseen = np.full(len(further), np.nan)
    gains = np.array([float(item in visit.clicked) for item in visit.shown])
    return Case(
        str(number),
        (*visit.shown, *further),
        np.concatenate([gains, unseen]),
        visit.aim.query,
        shopper=visit.shopper,
        propensities=None if propensity is None else np.concatenate([np.full(len(gains), propensity), unseen]),
    )
