"""One run of training, from examples on disk to a version in the store with the gate's verdict: what the child does.

Each step's result is a file in the run's folder. A job that was killed does what is left, and makes no second version.
"""

import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from evaluator.gate import report as verdicts
from evaluator.gate.checks.quality import calibrated
from evaluator.gate.dataset import Score, Served
from evaluator.gate.gate import judge
from evaluator.gate.report import Verdict
from evaluator.retraining import items as catalogue
from evaluator.retraining import run_spec
from evaluator.retraining.config import LoopConfig
from evaluator.retraining.dataset import TrainingDataset, recent, training_dataset
from evaluator.retraining.run import UNUSABLE
from evaluator.retraining.run_spec import ORDER, OUTCOME, SOURCE, RunResult, RunSpec
from evaluator.retraining.store.archive import Archive
from models import check
from models.cpu import limit_threads
from models.encoder import Encoder
from models.scorer import utility
from models.store import Description, ModelStore, StoreError, files
from models.store.manifest import OWN, Data
from models.store.parts import Parts, parts
from models.training import version
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, ExamplesError
from models.training.item_cache import ItemCache
from models.training.methods import RECIPES
from models.training.start import Start
from models.weights import WeightsError
from streams.serving.loaded_model import load

log = logging.getLogger(__name__)

LESSON, BRANDS, ABOUT = "lesson.json", "brands.json", "about.json"
TRAINING, CHALLENGER = "training", "challenger"

Say = Callable[[str, float], None]
"""Takes the stage, training or gate, and the share of it that is done."""


class Job:
    """A run, in its folder, where its order is.

    Parameters
    ----------
    say
        Told how far it is.
    """

    def __init__(self, folder: Path, config: LoopConfig, say: Say) -> None:
        self.folder, self.config, self.say = folder, config, say
        asked = run_spec.read(folder / ORDER, RunSpec)
        if asked is None:
            raise FileNotFoundError(folder / ORDER)
        self.order = asked
        self.store = ModelStore(config.streams.model.store)
        model = config.streams.model
        champion = self.order.champion
        self.base = (
            parts(self.store, champion)
            if champion
            else Parts(architecture=_trained(model.architecture), weights=model.weights)
        )

    def run(self) -> RunResult:
        """Do what is left to do.

        Raises
        ------
        models.training.examples.ExamplesError
            When there are too few examples to cut.
        models.store.errors.StoreError
            When a version or the store cannot be used.
        """
        if done := run_spec.read(self.folder / OUTCOME, RunResult):
            return done
        limit_threads(self.config.learning.threads)
        self.say("training", 0.0)
        start = Start(self.base, self.config.streams.model, self._training())
        told = self._lesson(start.encoder)
        about = run_spec.read(self.folder / ABOUT, Description) or self._train(start, told)
        self.say("gate", 0.0)
        verdict = self._verdict() or self._judge(start, told, about)
        made = self._put(about, verdict)
        outcome = RunResult(version=made, decision=verdict.decision, sentence=verdict.sentence, through=told.through)
        run_spec.write(self.folder / OUTCOME, outcome)
        return outcome

    def _training(self) -> TrainConfig:
        learning = self.config.learning
        return TrainConfig(
            method=learning.method,
            epochs=learning.epochs,
            folder=self.folder / TRAINING,
            items_folder=Path(learning.folder) / "items",
            resume=True,
            report_to=("none",),
            progress=False,
        )

    def _lesson(self, encoder: Encoder) -> TrainingDataset:
        """The examples, as they were when this run began."""
        if found := run_spec.read(self.folder / LESSON, TrainingDataset):
            return found
        learning, archive = self.config.learning, Archive(Path(self.config.examples.folder))
        some = recent(archive, learning, self.order.since)
        older = archive.rehearsal(some[0].ts if some else 0)
        wanted = {item for one in (*some, *older) for item in (one.item_id, *one.history)}
        items = catalogue.read(self.config.streams, wanted, encoder)
        ItemCache(encoder, self._training().items_folder).keep(items.encoded)
        made = training_dataset(some, older, items.texts.get, learning)
        run_spec.write(self.folder / BRANDS, items.brands)
        run_spec.write(self.folder / LESSON, made)
        return made

    def _train(self, start: Start, told: TrainingDataset) -> Description:
        """Train, and leave the challenger's parts in a folder of their own.

        A champion that a drift has proved wrong is a bad start, one that is right the best: a head is trained from both
        the champion's and a fresh one, and the one that fits what came afterwards, the calibration's slice, is taken.
        """
        method = self.config.learning.method
        if not RECIPES[method].trains_items:
            start.encode(_texts([*told.train, *told.calibrate, *told.gate]))
        runs = [start.run]
        if method == "head" and start.head is not None:
            runs.append(start.afresh)
        tries = [
            run(lambda done, before=before: self.say("training", (before + done) / len(runs))).train(  # type: ignore[misc]
                told.train, told.calibrate
            )
            for before, run in enumerate(runs)
        ]
        trained = min(tries, key=lambda one: one.metrics["log_loss"])
        trained.metrics["afresh"] = float(trained is not tries[0])
        folder = self.folder / CHALLENGER
        shutil.rmtree(folder, ignore_errors=True)
        version.save(trained, folder)
        since, until = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (told.since, told.until))
        data = Data(SOURCE, len(told.train), since, until, version.data_hash(told.train))
        about = version.describe(self.store, self.base, trained, folder, data)
        run_spec.write(self.folder / ABOUT, about)
        return about

    def _verdict(self) -> Verdict | None:
        return run_spec.read(self.folder / CHALLENGER / "gate.json", Verdict)

    def _judge(self, start: Start, told: TrainingDataset, about: Description) -> Verdict:
        """Both as they are served, on the newest slice.

        Raises
        ------
        models.weights.WeightsError
            When the challenger is not fit to serve at all.
        """
        made = self._challenger(about)
        first = self.order.champion is None
        checked = load(made, self.config.streams.model)
        if not first:
            check.within(checked.engaged, load(self.base, self.config.streams.model, [checked]).engaged)
        texts = _texts([*told.calibrate, *told.gate] if first else told.gate)
        champion, challenger = self._served(self.base, start, texts), self._served(made, start, texts)
        baseline: Score = champion
        if first:  # never calibrated: anything that was would have the smaller loss
            baseline = calibrated(champion, told.calibrate, self.config.gate.most_contexts)
        weights = {str(intent): weight for intent, weight in self.config.streams.policy.intent_weights.items()}
        verdict = judge(
            champion,
            challenger,
            told.gate,
            self.config.gate,
            baseline=baseline,
            worth=partial(utility, weights=weights),
            brands=run_spec.read(self.folder / BRANDS, dict[str, str]) or {},
        )
        folder = self.folder / CHALLENGER
        trigger = {"run": self.order.id, "by": self.order.by, **msgspec.to_builtins(self.order.trigger)}
        slices = {"train": len(told.train), "calibrate": len(told.calibrate), "gate": len(told.gate)}
        run_spec.write(folder / "trigger.json", trigger | {"slices": slices | {"rehearsed": told.rehearsed}})
        (folder / "gate.json.part").write_bytes(verdicts.encode(verdict))
        (folder / "gate.json.part").replace(folder / "gate.json")
        return verdict

    def _challenger(self, about: Description) -> Parts:
        folder = self.folder / CHALLENGER

        def part(name: str) -> Path | None:
            return folder / name if (folder / name).is_dir() else None

        return Parts(
            architecture=_trained(about.architecture),
            weights=str(folder / "encoder") if about.encoder == OWN else self.base.weights,
            head=part("head"),
            adapter=part("adapter"),
            cross_encoder=part("cross_encoder"),
        )

    def _served(self, chosen: Parts, start: Start, texts: set[str]) -> Served:
        """A version's parts at work; what the run has loaded and encoded already is used again."""
        model = self.config.streams.model
        encoder = start.encoder
        if (chosen.weights, chosen.adapter) != (encoder.weights, encoder.adapter):
            encoder = Encoder(
                chosen.weights,
                precision=model.precision,
                max_item_tokens=model.max_item_tokens,
                max_query_tokens=model.max_query_tokens,
                adapter=chosen.adapter,
            )
        if start.items is None or start.encoder.version != encoder.version:
            items = FrozenItems(encoder, texts, start.config.items_folder)
        else:
            items = start.items
        return Served(chosen, encoder, items, model.precision)

    def _put(self, about: Description, verdict: Verdict) -> str:
        """The version in the store: the one that an earlier try put, or a new one."""
        folder = self.folder / CHALLENGER
        scanned = files.scan(folder)  # the trigger's file names the run, so no other run's version has the same
        for known in reversed(self.store.ids()):
            if self.store.manifest(known).files == scanned:
                return known
        reason = self.order.trigger.summary
        about = msgspec.structs.replace(about, notes=f"{reason}. Gate {verdict.decision}: {verdict.sentence}")
        return self.store.put(folder, about).id


def work(folder: Path, config: LoopConfig, say: Callable[..., None]) -> int:
    """Make a run, and say how far it is; the process's exit code."""
    try:
        Job(folder, config, say).run()
    except (ExamplesError, StoreError, WeightsError) as error:
        say("failed", error=str(error))
        return UNUSABLE
    return 0


def _texts(examples: list[Example]) -> set[str]:
    return {text for one in examples for text in (one.item, *one.history)}


def _trained(architecture: str) -> Any:
    """What is trained where nothing can be: a scorer that is constant has nothing to go on from."""
    return "late_interaction" if architecture == "constant" else architecture
