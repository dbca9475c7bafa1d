"""Every engine that is there agrees with float32 as written; one that is not is told once and replaced."""

import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from models.engines import Compiled, EngineName, compile
from models.engines.buckets import Buckets
from models.engines.export import exported
from models.engines.tensorrt import key
from models.layers import PackedRows
from models.reader import NOWHERE
from tests.logged import logged
from tests.models.engines.conftest import content, example, inputs

CPU = torch.device("cpu")
LENGTHS = [[5], [3, 9, 4], [64], [20] * 9, [31, 2, 64, 7, 7, 90, 12]]
STATED = {"float32": (1e-4, 0.9999), "bfloat16": (0.05, 0.99), "float16": (0.02, 0.995), "int8": (0.05, 0.99)}
"""Largest error and least rank agreement, by number format."""
SMALL = Buckets(rows=(2, 8), widths=(96,))

compiler = pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler; there is none on PATH")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: TensorRT and inductor on CUDA have not run")


def check_parity(compiled: Compiled, rows: PackedRows, device: torch.device, dtype: str) -> None:
    """Largest difference of unit-norm states, and rank agreement of all texts' similarities, within what is stated."""
    most, ranks = STATED[dtype]
    with torch.inference_mode():
        for lengths in LENGTHS:
            given = inputs(lengths)
            reference = content(rows(*given), given[1])
            found = content(compiled(*(one.to(device) for one in given)).cpu(), given[1])
            assert (reference - found).abs().max() < most
            if len(reference) > 9:
                agreement = spearmanr((reference @ reference.T).flatten(), (found @ found.T).flatten()).statistic
                assert agreement > ranks


@pytest.mark.parametrize("engine", ["eager", pytest.param("inductor", marks=compiler)])
def test_parity_on_the_cpu(rows: PackedRows, engine: EngineName, tmp_path: Path) -> None:
    compiled = compile(rows, example(), CPU, engine=engine, fills=NOWHERE, buckets=SMALL, cache=tmp_path)
    assert compiled.name == engine
    check_parity(compiled, rows, CPU, "float32")
    assert compiled.warm_up(example()) == (0 if engine == "eager" else 2)


def test_int8_on_the_cpu(rows: PackedRows) -> None:
    pytest.importorskip("openvino")
    buckets = Buckets(rows=(1, 4), widths=(16, 64, 96))
    compiled = compile(rows, example(), CPU, engine="openvino", fills=NOWHERE, buckets=buckets)
    assert compiled.name == "openvino"
    check_parity(compiled, rows, CPU, "int8")
    assert compiled.warm_up(example()) == 6
    first = [compiled(*inputs([5])).clone(), compiled(*inputs([40, 30]))]
    kept = [one.clone() for one in first]
    compiled(*inputs([7]))
    compiled(*inputs([33, 50]))
    assert all(torch.equal(one, other) for one, other in zip(first, kept, strict=True))  # no view of what is next


def test_without_openvino_eager_serves_and_one_line_says_so(
    rows: PackedRows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.INFO):
        compiled = compile(rows, example(), CPU, engine="openvino", fills=NOWHERE)
    check_parity(compiled, rows, CPU, "float32")
    [line] = logged(caplog, "models.engines.compile")
    assert compiled.name == "eager" and "liveshelf[openvino]" in line and "\n" not in line


@gpu
@pytest.mark.parametrize("engine", ["eager", "inductor", "tensorrt"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_parity_on_the_gpu(rows: PackedRows, engine: EngineName, dtype: str, tmp_path: Path) -> None:
    import copy

    device = torch.device("cuda")
    there = copy.deepcopy(rows).to(device, getattr(torch, dtype))
    given = [one.to(device) for one in example()]
    compiled = compile(there, given, device, engine=engine, fills=NOWHERE, buckets=SMALL, cache=tmp_path)
    if compiled.name != engine:
        pytest.skip(f"{engine} is not to be had here")
    check_parity(compiled, rows, device, dtype)


def test_without_tensorrt_inductor_serves_and_one_line_says_so(
    rows: PackedRows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with caplog.at_level(logging.INFO):
        compiled = compile(rows, example(), CPU, engine="tensorrt", fills=NOWHERE, cache=tmp_path)
    assert compiled.name == "inductor"
    [line] = logged(caplog, "models.engines.compile")
    assert "TensorRT" in line and "inductor" in line and "\n" not in line


def test_auto_is_eager_on_a_cpu_and_unknown_engines_are_told(rows: PackedRows) -> None:
    assert compile(rows, example(), CPU).name == "eager"
    with pytest.raises(ValueError, match=r"fast.*auto, eager, inductor, tensorrt, openvino"):
        compile(rows, example(), CPU, engine="fast")  # type: ignore[arg-type]


def test_the_exported_program_serves_any_number_of_rows_and_any_width(rows: PackedRows) -> None:
    program = exported(rows, example()).module()
    with torch.inference_mode():
        for lengths in LENGTHS:
            given = inputs(lengths)
            torch.testing.assert_close(
                content(program(*given), given[1]), content(rows(*given), given[1]), atol=1e-5, rtol=0
            )
    with pytest.raises(ValueError, match="two rows"):
        exported(rows, [one[:1] for one in example()])
    with pytest.raises(ValueError, match="twice"):
        exported(rows, [example()[0]] * 3)


def test_padding_to_a_bucket_changes_nothing(rows: PackedRows) -> None:
    given = inputs([5, 9, 30])
    padded = Buckets(rows=(4,), widths=(96,)).padded(given, NOWHERE)
    assert {one.shape for one in padded} == {(4, 96)}
    with torch.inference_mode():
        wide = rows(*padded)[: given[0].shape[0], : given[0].shape[1]]
        torch.testing.assert_close(content(wide, given[1]), content(rows(*given), given[1]), atol=1e-5, rtol=0)


def test_buckets_hold_what_they_are_asked_for() -> None:
    buckets = Buckets()
    for rows in range(1, 70):
        for width in range(1, 200):
            found = buckets.shape(rows, width)
            assert found[0] >= rows and found[1] >= width
    assert len(list(buckets.shapes())) == len(buckets.rows) * len(buckets.widths)


def test_a_key_changes_with_everything_that_an_engine_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    first = nn.Linear(3, 3)
    keys = {key(first, CPU), key(first, CPU, precision="float16"), key(first.double(), CPU), key(nn.ReLU(), CPU)}
    with torch.no_grad():
        first.float().weight[0, 0] += 1
    keys |= {key(first, CPU), key(first, torch.device("meta"))}
    monkeypatch.setattr("models.versions.metadata.version", lambda name: f"{name} of tomorrow")
    keys.add(key(first, CPU))
    assert len(keys) == 7
    assert key(first, CPU) == key(first, CPU)


def test_an_engine_is_chosen_by_the_encoder(titles: list[str]) -> None:
    from models.encoder import Encoder

    encoder = Encoder(precision="float32", engine="eager", device="cpu")
    auto = Encoder(precision="float32", device="auto")
    encoder.warm_up(2)
    for one, other in zip(encoder.encode_items(titles), auto.encode_items(titles), strict=True):
        assert np.abs(one.pooled.astype(np.float32) - other.pooled.astype(np.float32)).max() < 1e-2


def test_queries_by_another_engine_are_near_and_items_the_same(titles: list[str]) -> None:
    pytest.importorskip("openvino")
    from models.encoder import Encoder

    plain, other = Encoder(precision="float32"), Encoder(precision="float32", query_engine="openvino")
    assert (other.engine, other.query_engine) == ("eager", "openvino")
    for one, two in zip(plain.encode_items(titles), other.encode_items(titles), strict=True):
        assert one.to_bytes() == two.to_bytes()
    for texts in (titles, titles[:1]):
        for query, near in zip(plain.encode_queries(texts), other.encode_queries(texts), strict=True):
            assert float(query.pooled @ near.pooled) > 0.99
            assert (query.tokens * near.tokens).sum(1).min() > 0.98


@pytest.mark.parametrize("query_engine", ["auto", "openvino"])
def test_where_no_other_engine_reads_queries_there_is_one_model(
    query_engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.encoder import Encoder

    monkeypatch.setitem(sys.modules, "openvino", None)
    encoder = Encoder(query_engine=query_engine)
    assert encoder.query_engine == encoder.engine == "eager"
    assert encoder._queries.reader is encoder._items.reader


def test_an_encoder_of_queries_without_its_engine_is_as_precise_as_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from models.encoder import Encoder
    from models.training.towers import fresh_bert
    from models.weights import PACKAGED

    fresh_bert(PACKAGED).save_pretrained(tmp_path)
    plain = Encoder(adapter=tmp_path, precision="bfloat16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    other = Encoder(adapter=tmp_path, precision="bfloat16", query_engine="openvino")
    [one], [two] = (some.encode_queries(["garden hose"]) for some in (plain, other))
    assert np.array_equal(one.tokens, two.tokens) and other.query_engine == "eager"
