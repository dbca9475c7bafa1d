import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from models.encoder import Encoder
from models.training.item_cache import ItemCache

TEXTS = ["Garden hose", "", "Tap", "Café crème mug", "Tap"]


def encoded(encoder: Encoder, folder: Path | None, texts: list[str]) -> tuple[list[bytes], int]:
    cache = ItemCache(encoder, folder)
    return [item.to_bytes() for item in cache.encode(texts)], cache.encoded


def test_what_was_encoded_is_not_encoded_again(encoder: Encoder, tmp_path: Path) -> None:
    first, count = encoded(encoder, tmp_path, TEXTS)
    assert count == 4 and first[2] == first[4]
    assert encoded(encoder, tmp_path, TEXTS[::-1]) == (first[::-1], 0)
    more, count = encoded(encoder, tmp_path, [*TEXTS, "Hose reel"])
    assert count == 1 and more[: len(TEXTS)] == first
    assert encoded(encoder, tmp_path, ["Hose reel"])[1] == encoded(encoder, tmp_path, TEXTS)[1] == 0
    assert encoded(encoder, None, ["Tap"])[1] == 1


def test_what_others_encoded_is_taken(encoder: Encoder, tmp_path: Path) -> None:
    first, _ = encoded(encoder, None, TEXTS)
    ItemCache(encoder, tmp_path).keep(dict(zip(TEXTS, first, strict=True)))
    assert encoded(encoder, tmp_path, [*TEXTS, "Hose reel"])[1] == 1
    ItemCache(encoder, tmp_path).keep({"Tap": first[2]})
    assert encoded(encoder, tmp_path, [*TEXTS, "Hose reel"])[1] == 0


def test_it_stays_within_its_bounds(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.item_cache.MOST", 3)
    encoded(encoder, tmp_path, ["a", "b"])
    encoded(encoder, tmp_path, ["c", "d"])
    assert encoded(encoder, tmp_path, ["c", "d", "b"])[1] == 0
    assert encoded(encoder, tmp_path, ["a"])[1] == 1


def test_files_are_tensors_alone(encoder: Encoder, tmp_path: Path) -> None:
    encoded(encoder, tmp_path, TEXTS)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_another_encoder_has_a_file_of_its_own(encoder: Encoder, tmp_path: Path) -> None:
    encoded(encoder, tmp_path, TEXTS)
    assert encoded(Encoder(precision="float32", max_item_tokens=1), tmp_path, TEXTS)[1] == 4
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda _: b"", lambda data: data[:200] + b"\xff" * (len(data) - 200)]
)
def test_a_damaged_file_is_told_and_made_anew(
    encoder: Encoder, tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = encoded(encoder, tmp_path, TEXTS)
    [file] = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert encoded(encoder, tmp_path, TEXTS) == (first, 4)
    assert "encoded again" in caplog.text
    assert encoded(encoder, tmp_path, TEXTS) == (first, 0)
