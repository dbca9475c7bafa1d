import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.examples import (
    LEVELS,
    Example,
    ExamplesError,
    by_context,
    context,
    expected_level,
    read_examples,
    soft_target,
    split,
)

GOOD = {"query": "hose", "item": "Garden hose", "intent": "buy"}


@given(st.floats(0, 1))
def test_a_grade_becomes_intents_whose_mean_level_it_is(grade: float) -> None:
    target = soft_target(grade)
    assert target.sum() == pytest.approx(1, abs=1e-6) and (target >= 0).all() and (target > 0).sum() <= 2
    assert expected_level(target[None])[0] == pytest.approx(grade, abs=1e-6)


def test_an_intent_is_its_level() -> None:
    for intent, level in LEVELS.items():
        example = Example(query="q", item="i", intent=intent)
        assert example.level == level
        np.testing.assert_allclose(example.target(), Example(query="q", item="i", grade=level).target(), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"intent": "steal"}, "steal"),
        ({"grade": 0.5}, "only one"),
        ({"intent": None}, "intent or a grade"),
        ({"intent": None, "grade": 1.5}, "not between"),
        ({"item": None}, "item"),
        ({"query": " "}, "query or a history"),
        ({"weight": 0}, "above zero"),
        ({"item": 5}, "item"),
    ],
)
def test_what_is_no_example_is_told_with_its_line(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | wrong) + "\n")
    with pytest.raises(ExamplesError, match=f"examples.jsonl, line 2 is no example: .*{said}"):
        read_examples(file)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "holds no examples"),
        ("a.jsonl", b"{", "line 1"),
        ("a.jsonl", b"\xff\xfe\n", "cannot be read"),
        ("a.jsonl.xz", b"no archive", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(json.dumps(GOOD).encode())[:-9], "cannot be read"),
        ("a.jsonl.xz", lzma.compress(json.dumps(GOOD).encode() * 99)[:60], "cannot be read"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExamplesError, match=said):
        read_examples(tmp_path / name)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_files_are_read_by_mapping_and_scale(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"pairs.jsonl{suffix}"
    lines = "\n".join(json.dumps({"query": "q", "title": f"t{n}", "relevance": n, "other": []}) for n in (1, 2, 3))
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    file.write_bytes(pack(lines.encode()))
    found = read_examples(file, {"item": "title", "grade": "relevance"}, (1, 3))
    assert [(one.item, one.grade) for one in found] == [("t1", 0.0), ("t2", 0.5), ("t3", 1.0)]
    assert len(read_examples(file, {"item": "title", "grade": "relevance"}, (1, 3), limit=2)) == 2


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=40), st.floats(0, 1))
def test_a_split_loses_nothing_and_parts_no_context(pairs: list[tuple[str, int]], share: float) -> None:
    examples = [Example(query=query, item=str(item), grade=1) for query, item in pairs]
    kept, aside = split(examples, share)
    assert sorted(map(repr, kept + aside)) == sorted(map(repr, examples))
    assert not {context(one) for one in kept} & {context(one) for one in aside}
    assert split(examples, share) == (kept, aside)
    together = [example for group in by_context(examples) for example in group]
    assert together == sorted(examples, key=lambda one: [*dict(pairs)].index(one.query))
