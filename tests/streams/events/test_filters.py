"""The canonical form of filters: one for all that ask the same, whatever is sent; and the test vectors of the docs."""

import json
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.events.filters import (
    CATEGORY,
    LONGEST,
    MOST_MEMBERS,
    MOST_VALUES,
    OWN,
    Filter,
    folded,
    item_values,
    number,
)
from streams.events.schema import Item
from streams.redis import keys

DOCS = Path(__file__).parents[3] / "docs"
VECTORS = json.loads((DOCS / "filter-keys.json").read_text("utf-8"))

NAMES = st.one_of(st.sampled_from([*OWN, "Größe", "colour", "a>", "=&,#", ""]), st.text(max_size=4))
SCALARS = st.one_of(st.text(max_size=6), st.booleans(), st.none(), st.floats(), st.integers(-(10**400), 10**400))
RANGES = st.dictionaries(
    st.sampled_from(["min", "max", "least"]), st.one_of(st.none(), st.floats(), st.text(max_size=2))
)
ASKED = st.recursive(
    st.one_of(SCALARS, RANGES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=2)),
    max_leaves=6,
)
FILTERS = st.dictionaries(NAMES, ASKED, max_size=6)


def said_again(wanted: Filter) -> dict[str, Any]:
    """A filter from what another one was understood as."""
    low_high = {
        name: {side: bound for side, bound in zip(("min", "max"), bounds, strict=True) if abs(bound) != float("inf")}
        for name, bounds in wanted.ranges.items()
    }
    values = {name: [True] if name == "in_stock" else list(some) for name, some in wanted.values.items()}
    return {name: some for name, some in values.items() if name not in low_high} | low_high


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["about"])
def test_documented_filters_have_the_documented_keys(vector: dict[str, Any]) -> None:
    wanted = Filter.of(vector["filters"])
    assert (wanted.text, wanted.key) == (vector["text"], vector["key"])
    assert wanted.malformed == vector.get("left_out", 0)


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_the_documented_javascript_makes_the_documented_keys() -> None:
    code = (DOCS / "filters.md").read_text("utf-8").partition("```js\n")[2].partition("```")[0]
    last = "console.log(JSON.stringify(vectors.map((one) => filterKey(one.filters))));"
    run = ["node", "--input-type=module", "-e", f"{code}\nconst vectors = {json.dumps(VECTORS)};\n{last}"]
    made = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(made.stdout) == [vector["key"] for vector in VECTORS], made.stderr


@given(FILTERS)
@example({"price": {"min": 1, "max": 2}, "PRICE": {"min": 0.5}})
@example({"a>": "b", "a": {"min": 1}})
def test_any_filters_have_one_short_safe_key_that_no_order_changes(raw: dict[str, Any]) -> None:
    wanted = Filter.of(raw)
    assert len(wanted.key) <= LONGEST and wanted.key.isascii() and not set(wanted.key) & set(" :{}\n\r\"'") - {"'"}
    assert Filter.of(dict(reversed(raw.items()))) == wanted
    if wanted:
        key = keys.search("tv", "u", wanted.key)
        assert key.count(":") == 4 and {key} != {keys.search("tv", "u"), keys.search("tv", wanted.key)}
        assert any(sign in wanted.key for sign in "=#"), "no escaped shopper or category looks like it"


@given(FILTERS)
def test_what_was_understood_is_understood_the_same_again(raw: dict[str, Any]) -> None:
    wanted = Filter.of(raw)
    names = [folded(name) for name in raw]
    if len(set(names)) == len(names) and len(wanted.values.keys() | wanted.ranges.keys()) == len(said_again(wanted)):
        assert Filter.of(said_again(wanted)) == wanted


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4), st.randoms())
def test_case_width_spaces_and_order_make_no_other_key(names: list[str], chance: Any) -> None:
    others = [f"\t{unicodedata.normalize('NFD', name)}  " for name in names]
    chance.shuffle(others)
    assert Filter.of({"brand": names}) == Filter.of({" BRAND": others + others})
    assert Filter.of({CATEGORY: [names]}) == Filter.of({CATEGORY: " > ".join(names)})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_it_can_be_read_back(value: float) -> None:
    assert float(number(value)) == value
    assert number(value) == number(float(number(value)))


@given(st.text())
def test_folding_twice_is_enough(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_what_is_left_out_is_counted_and_never_in_the_key() -> None:
    many = {f"a{n}": n for n in range(MOST_MEMBERS + 1)}
    assert (Filter.of(many).text, Filter.of(many).malformed) == ("", 1)
    long = Filter.of({"brand": [str(n) for n in range(MOST_VALUES + 1)], "colour": "red"})
    assert (long.text, long.malformed) == ("colour=red", 1)


def test_an_item_in_several_categories_is_found_by_each() -> None:
    item = Item(
        item_id="1",
        title="Shirt",
        category="Clothing > Shirts",
        attributes={"categories": ["Clothing > Men", "Sale", 7]},
    )
    found = [value for name, value in item_values(item) if name == "category"]
    assert found == ["clothing", "clothing>shirts", "clothing>men", "sale"]
