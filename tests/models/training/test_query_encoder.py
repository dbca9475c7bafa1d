"""A smaller encoder of queries comes near the one it learns from, and changes nothing of items."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.encoder import Encoder
from models.training.query_encoder import Distillation, compared, distil, spread
from models.training.towers import fresh_bert
from models.weights import PACKAGED, WeightsError

COLOURS = ("red", "blue", "green", "black", "white", "brown")
THINGS = ("hose", "lamp", "drill", "chair", "kettle", "ladder", "fan", "rug")
QUERIES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
TITLES = [f"{thing.title()} in {colour}, 20 m, for house and garden" for colour in COLOURS for thing in THINGS]


def test_a_student_comes_nearer_with_reading_and_leaves_items_alone(encoder: Encoder, tmp_path: Path) -> None:
    told: list[float] = []
    found: dict[float, dict[str, float]] = {}
    for passes in (0.3, 5.0):
        student, found[passes] = distil(
            encoder, QUERIES, TITLES, tmp_path / "student", layers=2, rate=1e-3, passes=passes, bf16=False,
            progress=told.append,
        )  # fmt: skip
    assert found[5.0]["query_layers"] == 2
    for name in ("query_cosine", "query_token_cosine"):
        assert found[5.0][name] > found[0.3][name] + 0.03, found
        assert found[5.0][name] > 0.8, found
    assert told[-1] == 1.0
    assert student.version == encoder.version and student.query_version != encoder.query_version
    [one], [other] = (some.encode_items(["Garden hose"]) for some in (encoder, student))
    assert np.array_equal(one.tokens, other.tokens) and np.array_equal(one.pooled, other.pooled)
    loaded = Encoder(precision="float32", adapter=tmp_path / "student")
    assert loaded.query_version == student.query_version
    assert compared(student, loaded, QUERIES)["query_token_cosine"] == pytest.approx(1.0, abs=1e-5)


def test_with_all_layers_a_student_is_its_teacher() -> None:
    model = Distillation(fresh_bert(PACKAGED), spread(6, 6)).eval()
    ids = torch.tensor([[101, 7000, 8000, 102], [101, 7000, 102, 0]])
    with torch.inference_mode():
        loss = model(ids, (ids > 0).long())["loss"]
    assert float(loss) == pytest.approx(0.0, abs=1e-5)
    assert all(name.startswith("student.") for name, _ in model.named_parameters())


@pytest.mark.parametrize("layers", [0, 7, 12])
def test_layers_that_are_not_there_are_refused(encoder: Encoder, tmp_path: Path, layers: int) -> None:
    with pytest.raises(WeightsError, match="has 6 layers"):
        distil(encoder, QUERIES, TITLES, tmp_path / "student", layers=layers, rate=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 3),
        ("vocab_size", 100),
        ("num_attention_heads", 7),
        ("num_attention_heads", 0),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", "two"),
        ("hidden_act", 0),
        ("pad_token_id", 99_999),
        ("dtype", "float99"),
        ("model_type", "roberta"),
        ("damaged", "{"),
        ("damaged", "[]"),
    ],
)
def test_an_encoder_of_queries_that_is_not_whole_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    fresh_bert(PACKAGED).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text()) | {"num_hidden_layers": 2}
    tensors = {key: one for key, one in load_file(tmp_path / "model.safetensors").items() if not _layer(key) > 1}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    file.write_text(json.dumps(config))
    Encoder(adapter=tmp_path)
    file.write_text(value if name == "damaged" else json.dumps(config | {name: value}))
    with pytest.raises(WeightsError, match=re.escape(str(tmp_path))):
        Encoder(adapter=tmp_path)


def _layer(key: str) -> int:
    found = re.search(r"layer\.(\d+)\.", key)
    return int(found[1]) if found else -1


def test_an_encoder_of_another_width_does_not_read_queries(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "narrow")
    with pytest.raises(WeightsError, match="hidden_size of 32, items have one of 384"):
        Encoder(adapter=tmp_path / "narrow")
