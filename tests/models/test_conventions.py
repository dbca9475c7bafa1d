import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from models import embeddings
from models.conventions import PRESETS, UNSAID, Conventions, Pooling, conventions, of_folder
from models.embeddings import FileEmbedding
from models.encoder import Encoder
from models.item_store import ItemStore
from models.late_interaction import LateInteractionScorer
from models.scorer import ScoreRequest
from models.training.config import TrainConfig
from models.training.run import Run
from models.weights import WeightsError
from tests.models.folders import wordpiece, xlm_roberta

E5 = PRESETS["multilingual"].conventions
RAW = Conventions("query: ", "passage: ", centred=False)
TEXTS = ["红 hose", "牛奶 儿童", "children milk 5-3", "garden", "☃ red"]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XLM-RoBERTa folder."""
    return xlm_roberta(tmp_path_factory.mktemp("xlm"))


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordPiece folder."""
    return wordpiece(tmp_path_factory.mktemp("bert"))


def say(folder: Path, name: str, **values: object) -> None:
    """Write a file of sentence-transformers."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))


def theirs(folder: Path, text: str, pooling: Pooling = "mean") -> torch.Tensor:
    """A text's unit vector by transformers alone."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        states = model(**AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")).last_hidden_state[0]
    return torch.nn.functional.normalize(states[0] if pooling == "cls" else states.mean(0), dim=-1)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ["many", "few"])
def test_vectors_are_those_of_transformers(kind: str, pooling: Pooling, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    said = Conventions("query: ", "passage: ", pooling)
    encoder = Encoder(str(folder), precision="float32", said=said)
    for text, query, item in zip(TEXTS, encoder.encode_queries(TEXTS), encoder.encode_items(TEXTS), strict=True):
        np.testing.assert_allclose(query.pooled, theirs(folder, f"query: {text}", pooling), atol=1e-5)
        np.testing.assert_allclose(item.pooled, theirs(folder, f"passage: {text}", pooling), atol=1e-3)


def test_states_are_of_the_texts_own_tokens(many: Path) -> None:
    encoder = Encoder(str(many), precision="float32", said=RAW, max_query_tokens=3)
    states, cut = encoder.encode_queries(["milk 牛奶", "milk red hose shoe garden"])
    # Not of the prefix, the special tokens, or the empty piece that begins a Chinese word.
    assert [len(states.tokens), len(cut.tokens)] == [2, 3]
    tokenizer = AutoTokenizer.from_pretrained(many)
    found = tokenizer("query: milk red hose").input_ids
    whole = Encoder(str(many), precision="float32", said=RAW).encode_queries(["milk red hose"])[0]
    np.testing.assert_allclose(cut.pooled, whole.pooled, atol=1e-5)
    assert (cut.ids.astype(int) - 1).tolist() == found[-4:-1]


def test_a_prefix_counts_for_versions_and_lengths(many: Path) -> None:
    plain, said = (Encoder(str(many), said=one) for one in (UNSAID, RAW))
    assert plain.version != said.version != said.query_version
    asked = Encoder(str(many), said=Conventions("query: "))
    assert asked.version == plain.version == plain.query_version != asked.query_version
    with pytest.raises(WeightsError, match=r"reads 64 tokens, \d+ of them .* set model.max_item_tokens to at most"):
        Encoder(str(many), said=RAW, max_item_tokens=60)


def test_a_table_in_its_file_changes_no_vector(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Encoder(str(many), precision="float32", said=E5)
    monkeypatch.setattr(embeddings, "LARGE", 10)
    after = Encoder(str(many), precision="float32", said=E5)
    reader: Any = after._items.reader
    assert isinstance(reader.rows._run.words, FileEmbedding)
    assert after.config.vocab_size == before.config.vocab_size and after.version == before.version
    for one, other in zip(before.encode_items(TEXTS), after.encode_items(TEXTS), strict=True):
        assert one.to_bytes() == other.to_bytes()


def test_centred_vectors_of_unrelated_texts_are_apart(many: Path) -> None:
    cosines = []
    for centred in (False, True):
        encoder = Encoder(str(many), precision="float32", said=Conventions(centred=centred))
        rows = np.stack([item.pooled for item in encoder.encode_items(TEXTS)]).astype(np.float32)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
        cosines.append((rows @ rows.T)[np.triu_indices(len(rows), 1)].mean())
    assert cosines[1] < cosines[0] - 0.1


def test_terms_are_of_words_without_marks(many: Path) -> None:
    [pieces] = Encoder(str(many)).word_pieces(["Milk 牛奶 ☃ iPhone 5"])
    assert pieces[:2] == ["milk", "☃"] and {"牛奶", "iphone5"} <= set(pieces)
    assert not any("▁" in piece or piece == "<unk>" for piece in pieces)


def test_words_of_chinese_pieces(many: Path) -> None:
    [found] = Encoder(str(many), said=RAW).words(["儿童牛奶 milk"], limit=9)
    assert [found.text[start:end] for start, end in found.spans] == ["儿童", "牛奶", "milk"]
    assert found.owner.tolist() == [0, 1, 2]


def test_what_the_folder_says_counts_after_what_is_said(few: Path, tmp_path: Path) -> None:
    folder = wordpiece(tmp_path / "few")
    assert conventions("few", folder, UNSAID) == Conventions("", "", "mean", None, False)
    say(folder, "config_sentence_transformers.json", prompts={"query": "ask: ", "document": "text: "})
    say(folder, "1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    say(folder, "sentence_bert_config.json", max_seq_length=48)
    assert of_folder(folder) == Conventions("ask: ", "text: ", "cls", 48)
    assert conventions("few", folder, Conventions(query_prefix="")) == Conventions("", "text: ", "cls", 48, False)
    assert conventions("intfloat/multilingual-e5-small", folder, UNSAID) == E5
    say(folder, "1_Pooling/config.json", pooling_mode="cls")
    assert of_folder(folder).pooling == "cls"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pooling_mode": "lasttoken"}, "pools by lasttoken"),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, "cls_token and max_tokens"),
        ({"pooling_mode": "mean", "include_prompt": False}, "mean without the prefix"),
    ],
)
def test_an_unknown_pooling_is_refused_unless_one_is_said(values: dict[str, object], said: str, tmp_path: Path) -> None:
    say(tmp_path, "1_Pooling/config.json", **values)
    with pytest.raises(WeightsError, match=said):
        conventions("own", tmp_path, UNSAID)
    assert conventions("own", tmp_path, Conventions(pooling="mean")).pooling == "mean"


@pytest.mark.parametrize("text", ["{", "[]", '{"prompts": 3}'])
def test_an_unreadable_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(text)
    with pytest.raises(WeightsError, match=str(tmp_path)):
        of_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config_sentence_transformers.json", '{"prompts": {"query": 5}}'),
        ("config_sentence_transformers.json", '{"prompts": {"passage": ["p: "]}}'),
        ("sentence_bert_config.json", '{"max_seq_length": "256"}'),
        ("sentence_bert_config.json", '{"max_seq_length": 12.5}'),
    ],
)
def test_a_value_of_another_type_is_named(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(WeightsError, match="should be of type"):
        of_folder(tmp_path)


def test_methods_that_would_read_otherwise_are_refused(many: Path, few: Path, tmp_path: Path) -> None:
    for folder, said in ((many, UNSAID), (few, E5)):
        with pytest.raises(WeightsError, match="the method head can"):
            Run(Encoder(str(folder), said=said), TrainConfig(method="lora", folder=tmp_path))
    Run(Encoder(str(few)), TrainConfig(method="lora", folder=tmp_path))


@pytest.mark.skipif("LIVESHELF_MULTILINGUAL" not in os.environ, reason="LIVESHELF_MULTILINGUAL names no model folder")
def test_the_multilingual_preset_finds_milk() -> None:
    encoder = Encoder(os.environ["LIVESHELF_MULTILINGUAL"], said=E5)
    titles = [
        "女士高跟鞋 尖头 黑色",
        "儿童成长牛奶 190ml 12盒",
        "Garden hose 30 m",
        "儿童书包 小学生",
        "Women's running shoes",
    ]
    item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
    item_store.put_many(range(len(titles)), encoder.encode_items(titles))
    scorer = LateInteractionScorer(item_store)
    for text in ("牛奶 儿童", "兒童牛奶", "Milch für Kinder", "子供用 牛乳", "leche para niños"):
        [query] = encoder.encode_queries([text])
        [scores] = scorer.score([ScoreRequest(np.arange(len(titles)), query, text)])
        assert scores[:, :3].sum(1).argmax() == 1, text
