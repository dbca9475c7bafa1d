from pathlib import Path

import huggingface_hub.constants
import pytest

from models.weights import WeightsError, resolve, version


def test_a_folder_is_checked_before_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(WeightsError, match="pickled weights"):
        resolve(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="tokenizer"):
        resolve(str(tmp_path))


def test_a_missing_folder_is_no_hub_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no model folder"):
        resolve(str(tmp_path / "absent"))


def test_a_hub_name_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="use a local folder or 'packaged'"):
        resolve("somebody/some-model")


def test_the_version_follows_the_bytes(tmp_path: Path) -> None:
    for name, content in (("config.json", b"{}"), ("vocab.txt", b"a"), ("model.safetensors", b"1")):
        (tmp_path / name).write_bytes(content)
    first = version(str(tmp_path))
    assert first == version(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert version(str(tmp_path)) != first
