"""A classifier is one file: it is picked up, and has readings of its own."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluator.offline import safety
from evaluator.offline.dimensions.safety import DIMENSION
from evaluator.offline.safety.classifier import every
from tests.evaluator.offline.dimensions.benches import bench, by_gain, shop

MODULE = """
def classify(texts):
    return ["lamps" if "lamp" in text else "" for text in texts]

CLASSIFIERS = {"trivial": classify}
"""


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "trivial.py").write_text(MODULE)
    monkeypatch.setattr(safety, "__path__", [*safety.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield
    sys.modules.pop("evaluator.offline.safety.trivial", None)


def test_a_module_with_classifiers_is_picked_up(trivial: None) -> None:
    assert set(every()) == {"trivial", "words"}
    part = DIMENSION.measure(bench(shop(), by_gain))
    names = {(one.measure, one.segment) for one in part.readings}
    assert ("harmful exposure (trivial)", "category: lamps") in names
    [one] = [reading for reading in part.readings if reading.measure == "harmful candidates (trivial)"]
    assert one.value == pytest.approx(0.2, abs=0.05)
    assert one.count == 160  # queries for lamps ask for them
