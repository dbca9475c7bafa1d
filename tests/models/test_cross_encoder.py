import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from models.cross_encoder import CrossEncoderScorer
from models.scorer import ScoreRequest
from models.weights import WeightsError


@pytest.fixture(scope="module")
def scorer(titles: list[str]) -> CrossEncoderScorer:
    """With a head of random weights, so that its scores differ."""
    scorer = CrossEncoderScorer(titles.__getitem__, precision="float32")
    torch.nn.init.normal_(scorer.model.classifier.weight, generator=torch.Generator().manual_seed(3))
    return scorer


def test_probabilities_in_the_candidates_order(scorer: CrossEncoderScorer, titles: list[str]) -> None:
    slots = np.arange(len(titles))
    requests = [ScoreRequest(slots, query_text="toner"), ScoreRequest(slots[:0]), ScoreRequest(slots[::-1].copy())]
    scores = scorer.score(requests)
    assert [rows.shape for rows in scores] == [(len(slots), 4), (0, 4), (len(slots), 4)]
    np.testing.assert_allclose(scores[0].sum(axis=1), 1, atol=1e-5)
    for slot in slots.tolist():
        [alone] = scorer.score([ScoreRequest(np.array([slot]), query_text="toner")])
        np.testing.assert_allclose(scores[0][slot], alone[0], atol=1e-5)
    assert np.ptp(scores[0][:, 0]) > 0.01
    assert scorer.score([]) == []


def test_hostile_texts(scorer: CrossEncoderScorer) -> None:
    for text in ("", "a" * 20_000, "word " * 4_000, "😀", "无线"):
        [rows] = scorer.score([ScoreRequest(np.array([0]), query_text=text)])
        assert np.isfinite(rows).all()


def test_an_untrained_head_is_said_and_scores_alike(titles: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "models.cross_encoder"):
        fresh = CrossEncoderScorer(titles.__getitem__)
    assert "untrained" in caplog.text
    [rows] = fresh.score([ScoreRequest(np.array([0, 1]), query_text="toner")])
    np.testing.assert_array_equal(rows, np.full((2, 4), 0.25, np.float32))


def test_a_saved_classifier_is_loaded_whole(scorer: CrossEncoderScorer, titles: list[str], tmp_path: Path) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.tokenizer.save_pretrained(tmp_path)
    again = CrossEncoderScorer(titles.__getitem__, str(tmp_path), precision="float32")
    request = ScoreRequest(np.array([2, 0]), query_text="notebook")
    np.testing.assert_allclose(again.score([request])[0], scorer.score([request])[0], atol=1e-6)


def test_a_classifier_of_other_labels_is_refused(titles: list[str], tmp_path: Path, scorer: CrossEncoderScorer) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.tokenizer.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    scorer.model.config.num_labels = 2
    scorer.model.config.save_pretrained(tmp_path)
    scorer.model.config.num_labels = 4
    assert config.is_file()
    with pytest.raises(WeightsError, match="2 labels"):
        CrossEncoderScorer(titles.__getitem__, str(tmp_path))
