"""The child's work: one run of training, from examples on disk to a version in the store with the gate's verdict.

Each step's result is a file in the run's folder. After a kill the job does the remaining steps, and stores no second
version.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from evaluator.attribution.example import LabelledExample
from evaluator.gate import held_out
from evaluator.gate import report as verdicts
from evaluator.gate.dataset import Score, Served
from evaluator.gate.figures.feeds import Feeds
from evaluator.gate.figures.quality import calibrated
from evaluator.gate.gate import decide
from evaluator.gate.held_out import HeldOut
from evaluator.gate.report import Verdict
from evaluator.retraining import items as catalogue
from evaluator.retraining import run_spec
from evaluator.retraining.config import LoopConfig
from evaluator.retraining.dataset import TrainingDataset, recent, training_dataset
from evaluator.retraining.item_model import ItemModelFit, fitted
from evaluator.retraining.run import RETRY, UNUSABLE
from evaluator.retraining.run_spec import RESULT, SOURCE, SPEC, RunResult, RunSpec
from evaluator.retraining.store.archive import Archive
from models import check
from models.cpu import limit_threads
from models.encoder import Encoder
from models.store import Description, ModelStore, StoreError, files
from models.store.atomic import write_whole
from models.store.errors import NotFoundError, transient
from models.store.manifest import OWN, Data
from models.store.parts import Parts, parts
from models.training import version
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, ExamplesError
from models.training.item_cache import ItemCache
from models.training.methods import RECIPES
from models.training.ranker_update import updated
from models.training.run import Trained
from models.training.served_feeds import FeedSlices
from models.training.start import Start
from models.weights import WeightsError
from streams.clock import wall_ms
from streams.features.behaviour import FEATURES
from streams.serving.loaded_model import feed_ranker, load

log = logging.getLogger(__name__)

DATASET, BRANDS, GROUPS, ABOUT = "lesson.json", "brands.json", "groups.json", "about.json"
TRAINING, CHALLENGER = "training", "challenger"
ITEM_MODEL_AT = "item_model_at"

Report = Callable[[str, float], None]
"""Takes the stage, training or gate, and the share of the stage that is done."""


class Job:
    """One run, in its folder, which holds its specification.

    Parameters
    ----------
    report
        Called with the progress.
    """

    def __init__(self, folder: Path, config: LoopConfig, report: Report) -> None:
        self.folder, self.config, self.report = folder, config, report
        spec = run_spec.read(folder / SPEC, RunSpec)
        if spec is None:
            raise FileNotFoundError(folder / SPEC)
        self.spec = spec
        self.store = ModelStore(config.streams.model.store)
        model = config.streams.model
        champion = self.spec.champion
        self.base = (
            parts(self.store, champion)
            if champion
            else Parts(architecture=_trained(model.architecture), weights=model.weights, said=model.said)
        )

    def run(self) -> RunResult:
        """Do the remaining steps.

        Raises
        ------
        models.training.examples.ExamplesError
            When there are too few examples to cut.
        models.store.errors.StoreError
            When a version or the store cannot be used.
        """
        if done := run_spec.read(self.folder / RESULT, RunResult):
            return done
        limit_threads(self.config.learning.threads)
        self.report("training", 0.0)
        start = Start(self.base, self.config.streams.model, self._training())
        dataset = self._dataset(start.encoder)
        about = run_spec.read(self.folder / ABOUT, Description) or self._train(start, dataset)
        self.report("gate", 0.0)
        verdict = self._verdict() or self._gate(start, dataset, about)
        result = RunResult(
            version=self._put(about, verdict),
            decision=verdict.decision,
            sentence=verdict.sentence,
            through=dataset.through,
        )
        run_spec.write(self.folder / RESULT, result)
        return result

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

    def _dataset(self, encoder: Encoder) -> TrainingDataset:
        """The training dataset, as it was when this run began."""
        if found := run_spec.read(self.folder / DATASET, TrainingDataset):
            return found
        learning, archive = self.config.learning, Archive(Path(self.config.examples.folder))
        some = recent(archive, learning, self.spec.since)
        older = archive.rehearsal(some[0].ts if some else 0)
        wanted = {item for one in (*some, *older) for item in (one.item_id, *one.history, *_others(one))}
        items = catalogue.read(self.config.streams, wanted, encoder)
        ItemCache(encoder, self._training().items_folder).keep(items.encoded)
        dataset = training_dataset(some, older, items.texts.get, learning)
        run_spec.write(self.folder / BRANDS, items.brands)
        run_spec.write(self.folder / GROUPS, items.groups)
        run_spec.write(self.folder / DATASET, dataset)
        return dataset

    def _train(self, start: Start, dataset: TrainingDataset) -> Description:
        """Train, and save the challenger's parts in a folder of their own.

        After a drift the champion may be a bad start; otherwise it is the best one. So a head is trained both from the
        champion's and from a fresh one, and the one with the lower loss on the newer calibration slice is taken.
        """
        method = self.config.learning.method
        if not RECIPES[method].trains_items:
            start.encode(_texts([*dataset.train, *dataset.calibrate, *dataset.gate]))
        runs = [start.run]
        if method == "head" and start.head is not None:
            runs.append(start.afresh)
        tries = [
            run(lambda done, before=before: self.report("training", (before + done) / len(runs))).train(  # type: ignore[misc]
                dataset.train, dataset.calibrate
            )
            for before, run in enumerate(runs)
        ]
        trained = min(tries, key=lambda one: one.metrics["log_loss"])
        trained.metrics["afresh"] = float(trained is not tries[0])
        folder = self.folder / CHALLENGER
        shutil.rmtree(folder, ignore_errors=True)
        said = self._save(trained, dataset.feeds, folder)
        since, until = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (dataset.since, dataset.until))
        data = Data(SOURCE, len(dataset.train), since, until, version.data_hash(dataset.train))
        about = version.describe(self.store, self.base, trained, folder, data, said)
        run_spec.write(self.folder / ABOUT, about)
        return about

    def _save(self, trained: Trained, feeds: FeedSlices, folder: Path) -> str:
        """Save the challenger's parts, with what its feeds are ranked by; returns what became of that, in sentences."""
        before = feed_ranker(self.base)
        change = updated(before.ranker, feeds, FEATURES, self.config.gate.least_feeds)
        trained.metrics |= change.metrics
        model = self._item_model(trained, before.weights.ids if before.weights else ())
        own = before.ranker if model.weights is not None and self.base.ranker is None else None
        version.save(trained, self.base, folder, change.ranker or own, before.first)
        if model.weights is not None:
            model.weights.save(folder / "ranker")
        return ". ".join(filter(None, (change.said, model.said)))

    def _item_model(self, trained: Trained, known: Sequence[str]) -> ItemModelFit:
        """The item-to-item model, fitted anew if that is due; the metrics say when that was, in s."""
        learning, now = self.config.learning, wall_ms() / 1_000
        champion = self.store.manifest(self.spec.champion) if self.spec.champion else None
        at = champion.metrics.get(ITEM_MODEL_AT, 0.0) if champion else 0.0
        if learning.item_model_s is None or now - at < learning.item_model_s:
            found = ItemModelFit(None, "")
        else:
            groups = run_spec.read(self.folder / GROUPS, dict[str, str]) or {}
            found = fitted(self.config.streams.redis, learning, known, groups)
        if at or found.weights is not None:
            trained.metrics[ITEM_MODEL_AT] = at if found.weights is None else now
        return found

    def _verdict(self) -> Verdict | None:
        file = self.folder / CHALLENGER / "gate.json"
        return verdicts.decode(file.read_bytes()) if file.is_file() else None

    def _gate(self, start: Start, dataset: TrainingDataset, about: Description) -> Verdict:
        """The gate's verdict on champion and challenger, as they are served, on the newest slice.

        Raises
        ------
        models.weights.WeightsError
            When the challenger cannot be served at all.
        """
        challenger_parts = self._challenger(about)
        first = self.spec.champion is None
        checked = load(challenger_parts, self.config.streams.model)
        if not first:
            check.within(checked.engaged, load(self.base, self.config.streams.model, [checked]).engaged)
        texts = _texts([*dataset.calibrate, *dataset.gate] if first else dataset.gate)
        texts |= {text for one in dataset.feeds.gate for text in (*one.items, *one.history)}
        champion, challenger = self._served(self.base, start, texts), self._served(challenger_parts, start, texts)
        baseline: Score | None = None
        if first:  # it was never calibrated, so any calibrated model would have a smaller loss
            baseline = calibrated(champion, dataset.calibrate, self.config.gate.most_contexts)
        held = HeldOut(
            examples=dataset.gate,
            brands=run_spec.read(self.folder / BRANDS, dict[str, str]) or {},
            intent_weights={str(name): weight for name, weight in self.config.streams.policy.intent_weights.items()},
            config=self.config.gate.model_dump(mode="json"),
            champion=self.spec.champion,
            feeds=dataset.feeds.gate,
        )
        run_spec.write(self.folder / held_out.FILE, held)
        verdict = decide(
            champion,
            challenger,
            held.examples,
            self.config.gate,
            baseline=baseline,
            worth=held.worth,
            brands=held.brands,
            feeds=Feeds(held.feeds, feed_ranker(self.base), checked.feeds),
        )
        folder = self.folder / CHALLENGER
        trigger = {"run": self.spec.id, "by": self.spec.by, **msgspec.to_builtins(self.spec.trigger)}
        slices = {"train": len(dataset.train), "calibrate": len(dataset.calibrate), "gate": len(dataset.gate)}
        run_spec.write(folder / "trigger.json", trigger | {"slices": slices | {"rehearsed": dataset.rehearsed}})
        write_whole(folder / "gate.json", verdicts.encode(verdict))
        return verdict

    def _challenger(self, about: Description) -> Parts:
        folder = self.folder / CHALLENGER
        weights = str(folder / "encoder") if about.encoder == OWN else self.base.weights
        return Parts.of(folder, _trained(about.architecture), weights, about.conventions or self.base.said)

    def _served(self, chosen: Parts, start: Start, texts: set[str]) -> Served:
        """A version's parts as a scorer; what the run has loaded and encoded already is used again."""
        model = self.config.streams.model
        encoder = start.encoder
        if (chosen.weights, chosen.adapter) != (encoder.weights, encoder.adapter):
            encoder = Encoder(
                chosen.weights,
                precision=model.precision,
                max_item_tokens=model.max_item_tokens,
                max_query_tokens=model.max_query_tokens,
                adapter=chosen.adapter,
                said=chosen.said,
            )
        if start.items is None or start.encoder.version != encoder.version:
            items = FrozenItems(encoder, texts, start.config.items_folder)
        else:
            items = start.items
            items.add(texts)
        return Served(chosen, encoder, items, model.precision)

    def _put(self, about: Description, verdict: Verdict) -> str:
        """The version's id in the store: the one of an earlier attempt, or a new one."""
        folder = self.folder / CHALLENGER
        scanned = files.scan(folder)  # the trigger's file names the run, so files of other runs differ
        for known in reversed(self.store.ids()):
            if self.store.manifest(known).files == scanned:
                return known
        reason = self.spec.trigger.summary
        notes = f"{reason}. Gate {verdict.decision}: {verdict.sentence}" + (f" {about.notes}." if about.notes else "")
        about = msgspec.structs.replace(about, notes=notes)
        return self.store.put(folder, about).id


def work(folder: Path, config: LoopConfig, report: Callable[..., None]) -> int:
    """Do a run and report its progress; returns the process's exit code: 0, `RETRY` where a disk or network failed, or
    `UNUSABLE` where the run would fail at every attempt."""
    try:
        Job(folder, config, report).run()
    except (ExamplesError, StoreError, WeightsError) as error:
        report("failed", error=str(error))
        missing = isinstance(error, NotFoundError)  # a run names its versions when it begins: none of them comes later
        return RETRY if transient(error) and not missing else UNUSABLE
    return 0


def _others(one: LabelledExample) -> Sequence[str]:
    return one.ranked.others if one.ranked is not None else ()


def _texts(examples: list[Example]) -> set[str]:
    return {text for one in examples for text in (one.item, *one.history)}


def _trained(architecture: str) -> Any:
    """The architecture to train: a constant scorer has nothing to train."""
    return "late_interaction" if architecture == "constant" else architecture
