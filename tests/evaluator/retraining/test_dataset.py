"""A lesson: which examples are taught, which are older, and what cannot be used."""

from pathlib import Path

import msgspec

from evaluator.attribution.example import LabelledExample
from evaluator.retraining import run_spec
from evaluator.retraining.config import LearningConfig
from evaluator.retraining.dataset import TrainingDataset, recent, training_dataset
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.store.store import ExampleStore
from tests.evaluator.examples.made import FIRST, HOUR_MS, NOW, config, example

CONFIG = LearningConfig(rehearsal=0.25)


def made(number: int, ts: int, **changes: object) -> LabelledExample:
    about = {"item_id": f"i{number % 9}", "query": f"query {number % 40}", "history": ["i1", "gone"], **changes}
    return msgspec.structs.replace(example(2 * number, ts, shelf_id=str(number)), **about)


def text(item_id: str) -> str | None:
    return None if item_id == "gone" else f"Text of {item_id}"


def test_older_examples_come_in_by_their_share_of_contexts_and_are_not_judged_by() -> None:
    new = [made(number, number) for number in range(100)]
    old = [made(number, 0, query=f"old {number}") for number in range(300)]
    told = training_dataset(new, old, text, CONFIG)
    fresh = [one for one in told.train if not one.query.startswith("old")]
    assert [one.query for one in fresh] == [one.query for one in new[:70]]
    assert told.rehearsed == len(told.train) - 70 == round(40 / 3)
    assert [len(told.calibrate), len(told.gate)] == [10, 20]
    assert (told.since, told.until, told.through) == (new[0].ts, new[69].ts, new[-1].ts)
    assert told == training_dataset(new, old, text, CONFIG), "a run that begins again is taught the same"


def test_who_saw_what_is_known_in_every_slice() -> None:
    new = [msgspec.structs.replace(made(number, number), shopper=f"u{number}") for number in range(100)]
    told = training_dataset(new, [], text, CONFIG)
    shown = [one.shopper for some in (told.train, told.calibrate, told.gate) for one in some]
    assert shown == [one.shopper for one in new]


def test_what_has_no_text_or_no_context_is_left_out() -> None:
    new = [made(number, number) for number in range(50)]
    odd = [made(60, 60, item_id="gone"), made(61, 61, query=" ", history=["gone"])]
    told = training_dataset([*new, *odd], [], text, CONFIG)
    assert told.without_text == 2
    assert told.train[0].history == ("Text of i1",) and told.train[0].item == "Text of i0"


def test_what_was_ignored_is_weighed_where_the_settings_say_so() -> None:
    new = [
        made(
            number,
            number,
            query="tv",
            position=number % 2,
            intent="look" if number % 4 == 0 or number % 12 == 1 else "ignore",
        )
        for number in range(200)
    ]
    plain = training_dataset(new, [], text, CONFIG.model_copy(update={"debias": False}))
    weighed = training_dataset(new, [], text, CONFIG)
    assert {one.weight for one in plain.train} == {1.0}
    assert {one.weight for one in weighed.train if one.intent == "look" or one.position == 0} == {1.0}
    assert max(one.weight for one in weighed.train if one.intent == "ignore" and one.position == 1) < 0.5
    assert (weighed.calibrate, weighed.gate) == (plain.calibrate, plain.gate), "judged by what was shown, as it came"


def test_the_newest_are_read_within_the_window(tmp_path: Path) -> None:
    taken = [made(number, number * HOUR_MS) for number in range(10)]
    with ExampleStore(config(tmp_path)) as store:
        store.update([(0, place, one) for place, one in enumerate(taken)], NOW)
        store.flush(NOW)
    archive = Archive(tmp_path)
    ids = [one.id for one in taken]
    assert [one.id for one in recent(archive, CONFIG)] == ids
    assert [one.id for one in recent(archive, CONFIG, since=FIRST + 4 * HOUR_MS)] == ids[4:]
    short = CONFIG.model_copy(update={"window_s": 2 * 3_600})
    assert [one.id for one in recent(archive, short)] == ids[7:]
    assert [one.id for one in recent(archive, CONFIG.model_copy(update={"most_examples": 3}))] == ids[7:]
    assert recent(Archive(tmp_path / "none"), CONFIG) == []


def test_a_lesson_is_the_same_from_its_file(tmp_path: Path) -> None:
    told = training_dataset([made(number, number) for number in range(50)], [], text, CONFIG)
    run_spec.write(tmp_path / "lesson.json", told)
    assert run_spec.read(tmp_path / "lesson.json", TrainingDataset) == told
    assert run_spec.read(tmp_path / "none.json", TrainingDataset) is None


def test_a_lesson_from_before_shoppers_were_kept_is_read(tmp_path: Path) -> None:
    """A run that an older trainer began goes on."""
    told = training_dataset([made(number, number) for number in range(50)], [], text, CONFIG)
    older = msgspec.json.decode(msgspec.json.encode(told))
    for some in ("train", "calibrate", "gate"):
        for one in older[some]:
            del one["shopper"]
    (tmp_path / "lesson.json").write_bytes(msgspec.json.encode(older))
    found = run_spec.read(tmp_path / "lesson.json", TrainingDataset)
    assert found is not None and [one.item for one in found.gate] == [one.item for one in told.gate]
    assert {one.shopper for one in found.gate} == {""}
