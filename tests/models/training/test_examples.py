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
LINE = json.dumps(GOOD).encode() + b"\n"


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
        ({"intent": None, "grade": 1.5}, "1.5 is not between 0 and 1; give the file's own bounds"),
        ({"intent": None, "grade": -0.1}, "-0.1 is not between"),
        ({"intent": None, "grade": "much"}, "much"),
        ({"intent": None, "grade": [1]}, "list"),
        ({"item": None}, "no field 'item' for the item; its fields are query, item, intent: map one"),
        ({"history": "Tap"}, "history"),
        ({"position": "first"}, "position"),
        ({"teacher": [1, 2]}, "teacher"),
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
        ("a.jsonl", b"", "a.jsonl holds no examples; a line of it should be like .*intent"),
        ("a.jsonl", b"\n \n", "a.jsonl holds no examples; a line of it should be like .*intent"),
        ("a.jsonl.gz", b"", "a.jsonl.gz holds no examples"),
        ("a.csv", b"query,item\n", "a.csv: examples are JSON lines, not .csv; write it as lines like "),
        ("a.parquet", b"PAR1", "a.parquet: examples are JSON lines, not .parquet; write it as lines like "),
        ("a.jsonl", b"{", "a.jsonl, line 1 is no example: .*truncated"),
        ("a.jsonl", LINE + b"[1]\n", "a.jsonl, line 2 is no example: Expected `object`"),
        ("a.jsonl", LINE + b"\n\xff\xfe\n", "a.jsonl, line 3 is not UTF-8: .*; save the file as UTF-8"),
        ("a.jsonl", json.dumps(GOOD).encode("utf-16"), "a.jsonl, line 1 is not UTF-8: .*; save the file as UTF-8"),
        ("a.jsonl.xz", b"no archive", "a.jsonl.xz cannot be read beyond line 0: .*Get it anew"),
        ("a.jsonl.xz", LINE, "a.jsonl.xz cannot be read beyond line 0: .*Get it anew"),
        ("a.jsonl.gz", LINE, "a.jsonl.gz cannot be read beyond line 0: .*Get it anew"),
        ("a.jsonl.gz", gzip.compress(LINE, mtime=0)[:-9], "a.jsonl.gz cannot be read beyond line .: .*Get it anew"),
        ("a.jsonl.gz", gzip.compress(LINE * 2, mtime=0)[:-4] + bytes(4), "a.jsonl.gz cannot be read beyond line 2"),
        ("a.jsonl.xz", lzma.compress(LINE * 99)[:60], "a.jsonl.xz cannot be read beyond line .*Get it anew"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExamplesError, match=said):
        read_examples(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl", tmp_path / "none.jsonl.xz"):
        with pytest.raises(ExamplesError, match=f"{path.name} cannot be read"):
            read_examples(path)


def test_who_was_shown_something_may_be_told_or_not_and_makes_no_other_context(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(LINE + b"".join(json.dumps(GOOD | {"shopper": who}).encode() + b"\n" for who in ("u1", 7)))
    found = read_examples(file)
    assert [one.shopper for one in found] == ["", "u1", "7"]
    assert len(by_context(found)) == 1


def test_a_scale_of_no_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExamplesError, match=r"a.jsonl: its lowest and its highest grade cannot both be 3; give two"):
        read_examples(tmp_path / "a.jsonl", grades=(3, 3))


def test_a_grade_outside_the_files_scale_is_told_as_it_stands_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"query": "q", "item": "i", "grade": 4}\n')
    with pytest.raises(ExamplesError, match="line 1 is no example: the grade 4 is not between 1 and 3"):
        read_examples(tmp_path / "a.jsonl", grades=(1, 3))
    [turned] = read_examples(tmp_path / "a.jsonl", grades=(5, 1))
    assert turned.grade == 0.25, "where one is the best grade"


def test_marks_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + LINE.replace(b"\n", b"\r\n") + b"\n" + LINE + b"\n\n")
    assert len(read_examples(tmp_path / "a.jsonl")) == 2


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan")])
def test_a_weight_is_above_zero_and_finite(weight: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Example(query="q", item="i", grade=1, weight=weight)


@pytest.mark.parametrize(("count", "aside"), [(1, 0), (2, 1), (4, 1), (30, 3)])
def test_a_split_leaves_no_side_empty_where_it_can(count: int, aside: int) -> None:
    examples = [Example(query=str(number), item="x", grade=1) for number in range(count)]
    kept, found = split(examples, 0.1)
    assert (len(kept), len(found)) == (count - aside, aside)
    assert split(examples, 0)[1] == [] and split(examples, 1)[0] == []


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
