import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import CandidatesConfig
from streams.ranking.candidates import BITS, EXPLORED, SOURCES, Source, SourceRecall, source_names, unions

slots = st.lists(st.integers(0, 40), unique=True, max_size=30).map(lambda found: np.array(found, dtype=np.int64))
found_by_source = st.dictionaries(st.sampled_from(SOURCES), slots)
some_caps = st.builds(
    CandidatesConfig,
    total=st.integers(1, 40),
    vector=st.integers(0, 30),
    lexical=st.integers(0, 30),
    together=st.integers(0, 30),
    trending=st.integers(0, 30),
)


@given(found_by_source, some_caps, st.sets(st.integers(0, 40)))
def test_union(found: dict[Source, np.ndarray], caps: CandidatesConfig, exclude: set[int]) -> None:
    [merged] = unions([found], caps, [np.array(sorted(exclude), np.int64)])
    capped = {source: ranked[: getattr(caps, source)].tolist() for source, ranked in found.items()}
    allowed = {slot for ranked in capped.values() for slot in ranked} - exclude
    assert len(merged) == len(set(merged.slots.tolist())) == min(caps.total, len(allowed))
    assert set(merged.slots.tolist()) <= allowed
    for slot, mask in zip(merged.slots.tolist(), merged.sources.tolist(), strict=True):
        assert mask == sum(BITS[source] for source, ranked in capped.items() if slot in ranked)


def by_turns(found: dict[Source, np.ndarray], caps: CandidatesConfig) -> list[int]:
    ranked = [slots[: getattr(caps, source)].tolist() for source, slots in found.items()]
    turns = [slots[turn] for turn in range(max(map(len, ranked), default=0)) for slots in ranked if turn < len(slots)]
    return list(dict.fromkeys(turns))[: caps.total]


@given(st.lists(found_by_source, max_size=5), some_caps)
def test_unions_of_a_batch_are_those_of_each_shelf_by_turns(
    shelves: list[dict[Source, np.ndarray]], caps: CandidatesConfig
) -> None:
    assert [one.slots.tolist() for one in unions(shelves, caps)] == [by_turns(found, caps) for found in shelves]


@given(found_by_source, some_caps)
def test_every_source_is_represented(found: dict[Source, np.ndarray], caps: CandidatesConfig) -> None:
    asked = [source for source, ranked in found.items() if len(ranked) and getattr(caps, source)]
    [merged] = unions([found], caps)
    if caps.total >= len(asked):
        brought = int(np.bitwise_or.reduce(merged.sources, initial=0))
        assert all(brought & BITS[source] for source in asked)


def test_best_of_each_first() -> None:
    found: dict[Source, np.ndarray] = {
        "vector": np.array([1, 2, 3]),
        "lexical": np.array([4, 2]),
        "together": np.array([5]),
    }
    assert unions([found], CandidatesConfig())[0].slots.tolist() == [1, 4, 5, 2, 3]


def test_nothing_found() -> None:
    [merged] = unions([{}], CandidatesConfig())
    assert merged.slots.dtype == np.int64
    assert merged.sources.dtype == np.uint16
    assert len(merged) == 0


def test_every_mask_has_words() -> None:
    names = [source_names(mask) for mask in range(2 * EXPLORED)]
    assert len(set(names)) == len(names)
    assert names[0] == ""


def test_recall_counts_shares() -> None:
    recall = SourceRecall()
    assert all(share.brought == share.alone == 0 for share in recall.get().values())
    recall.update(np.array([BITS["vector"], BITS["vector"] | BITS["lexical"] | EXPLORED], dtype=np.uint16))
    recall.update(np.array([BITS["trending"], BITS["lexical"]], dtype=np.uint16))
    shares = recall.get()
    assert recall.n == 4
    assert (shares["vector"].brought, shares["vector"].alone) == (0.5, 0.25)
    assert (shares["lexical"].brought, shares["lexical"].alone) == (0.5, 0.25)
    assert shares["trending"].alone == pytest.approx(0.25)
    assert shares["together"].brought == 0
