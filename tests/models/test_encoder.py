import numpy as np
import pytest
import torch
from transformers import AutoModel

from models.cross_encoder import CrossEncoderScorer
from models.encoder import Encoder
from models.weights import PACKAGED, resolve

HOSTILE = ["", "   ", "a" * 20_000, "word " * 4_000, "😀🎉", "无线鼠标", "\ud800 lone surrogate", "\0\x07", "<b>" * 99]


def test_pooled_is_what_sentence_transformers_gives(encoder: Encoder, titles: list[str]) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(resolve(PACKAGED)), device="cpu")
    theirs = model.encode(titles, normalize_embeddings=True)
    ours = np.stack([item.pooled for item in encoder.encode_items(titles)]).astype(np.float32)
    assert np.abs(ours - theirs).max() < 5e-4  # float16 storage
    queries = np.stack(
        [query.pooled for query in Encoder(precision="float32", max_query_tokens=64).encode_queries(titles)]
    )
    assert np.abs(queries - theirs).max() < 1e-5


def test_token_states_are_the_models(encoder: Encoder) -> None:
    text = "HP LaserJet toner"
    [query] = encoder.encode_queries([text])
    model = AutoModel.from_pretrained(resolve(PACKAGED), dtype=torch.float32)
    with torch.inference_mode():
        states = model(**encoder.tokenizer([text], return_tensors="pt", padding=False)).last_hidden_state[0, 1:-1]
    np.testing.assert_allclose(query.tokens, torch.nn.functional.normalize(states, dim=-1).numpy(), atol=1e-5)


def test_a_text_encodes_the_same_in_any_company(encoder: Encoder, titles: list[str]) -> None:
    together = encoder.encode_queries(titles * 3)
    for place, title in enumerate(titles):
        [alone] = encoder.encode_queries([title])
        for other in together[place :: len(titles)]:
            np.testing.assert_allclose(other.tokens, alone.tokens, atol=1e-5)
            np.testing.assert_allclose(other.pooled, alone.pooled, atol=1e-5)


def test_many_batches_keep_the_order(encoder: Encoder) -> None:
    texts = [f"item number {number} with a rather long title to fill the batches" for number in range(150)]
    many = encoder.encode_items(texts)
    [last] = encoder.encode_items(texts[-1:])
    assert len(many) == 150
    np.testing.assert_allclose(many[-1].restored(), last.restored(), atol=0.01)


def test_bfloat16_agrees_with_float32(encoder: Encoder, titles: list[str]) -> None:
    rough = Encoder(precision="bfloat16")
    assert rough.version == encoder.version
    for exact, fast in zip(encoder.encode_queries(titles), rough.encode_queries(titles), strict=True):
        assert exact.pooled @ fast.pooled > 0.999
        assert (exact.tokens * fast.tokens).sum(1).min() > 0.995


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_encode(encoder: Encoder, text: str) -> None:
    [item] = encoder.encode_items([text])
    [query] = encoder.encode_queries([text])
    [pieces] = encoder.word_pieces([text])
    assert len(item.tokens) <= encoder.max_item_tokens
    assert len(query.tokens) <= encoder.max_query_tokens
    assert np.isfinite(query.tokens).all()
    assert abs(float(np.linalg.norm(query.pooled)) - 1) < 1e-5
    assert all(0 < len(piece) <= 100 and piece != "[UNK]" for piece in pieces)


def test_nothing_asked_nothing_given(encoder: Encoder) -> None:
    assert encoder.encode_items([]) == []
    assert encoder.encode_queries([]) == []
    assert encoder.word_pieces([]) == []


def test_the_version_tells_of_the_item_length(encoder: Encoder) -> None:
    assert Encoder(max_item_tokens=8).version != encoder.version
    assert Encoder(max_query_tokens=8).version == encoder.version


def test_what_the_vocabulary_lacks_stands_as_written(encoder: Encoder) -> None:
    assert encoder.word_pieces(["无线 mouse 😀"]) == [["mouse", "😀", "无线", "无", "线"]]


def test_loading_leaves_other_threads_their_default_type(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[torch.dtype] = []
    change = torch.set_default_dtype
    monkeypatch.setattr(torch, "set_default_dtype", lambda dtype: (changed.append(dtype), change(dtype))[1])
    encoder = Encoder(precision="bfloat16")
    CrossEncoderScorer(lambda _: "tap", precision="bfloat16")
    assert set(changed) <= {torch.float32} and encoder.dtype == torch.bfloat16


def test_a_query_is_read_as_it_is_encoded_and_split(encoder: Encoder) -> None:
    texts = ["gardenhose 5ft long", "", "wireless mouse " * 40, "花园 hose \ud800", "x" * 5_000]
    limit = encoder.max_query_tokens
    read, encoded, words = encoder.read_queries(texts), encoder.encode_queries(texts), encoder.words(texts, limit)
    for (query, found), other, own in zip(read, encoded, words, strict=True):
        assert query.tokens.tolist() == other.tokens.tolist() and query.pooled.tolist() == other.pooled.tolist()
        assert (found.text, found.spans, found.owner.tolist()) == (own.text, own.spans, own.owner.tolist())
        assert len(found.owner) == len(query.tokens)
