"""Loads a model whose large table of word pieces stays in its file: only the rows that texts need come into memory.

Of a multilingual model the table is most of the weights, and a shop's texts use a small part of it. Knows models and
safetensors files; nothing of texts.
"""

import json
import os
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.weights import WeightsError, quiet

LARGE = 100_000
"""Word pieces from which a table stays in its file; a smaller one is a small part of a model."""

_TABLE = "embeddings.word_embeddings.weight"
_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class FileEmbedding(nn.Module):
    """An embedding that reads rows of a safetensors file as they are looked up, about 2 µs each.

    The system caches what is read, once for all processes. A mapping of the file would do the same, but counts as each
    process's memory, with 64 to 128 KB for each row (measured: ``docs/languages.md``).

    Parameters
    ----------
    file, name
        The file, and the tensor in it: [pieces, D].
    dtype
        Of what is looked up.

    Raises
    ------
    WeightsError
        When the file has no such tensor, or not of this form.

    Examples
    --------
    >>> import tempfile
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "model.safetensors"
    ...     save_file({"table": torch.eye(3, dtype=torch.float16)}, file)
    ...     FileEmbedding(file, "table", torch.float32)(torch.tensor([[2, 0]])).tolist()
    [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    """

    def __init__(self, file: Path, name: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self._file = file.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        header = int.from_bytes(self._file.read(8), "little")
        about = json.loads(self._file.read(header)).get(name)
        if about is None or about["dtype"] not in _TYPES or len(about["shape"]) != 2:
            raise WeightsError(f"{file} holds no table {name} of floating-point numbers")
        self.pieces, self.width = about["shape"]
        self._stored, self._first = _TYPES[about["dtype"]], 8 + header + about["data_offsets"][0]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """int64 [...] to [..., D].

        Raises
        ------
        IndexError
            When an id is none of the table.
        """
        unique, places = torch.unique(ids, return_inverse=True)
        if len(unique) and not 0 <= int(unique[0]) <= int(unique[-1]) < self.pieces:
            raise IndexError(f"ids from {int(unique[0])} to {int(unique[-1])}, of {self.pieces} word pieces")
        rows = torch.empty(len(unique), self.width, dtype=self._stored)
        size = rows.element_size() * self.width
        read: Any = memoryview(rows.view(torch.uint8).flatten().numpy().data)
        handle = self._file.fileno()
        for row, piece in enumerate(unique.tolist()):
            os.preadv(handle, [read[row * size : (row + 1) * size]], self._first + piece * size)
        return rows.to(self.dtype)[places]


def load(folder: Path, dtype: torch.dtype, filed: bool) -> Any:
    """A model without its pooler, on the CPU.

    Parameters
    ----------
    filed
        Whether a large table of word pieces may stay in its file.

    Raises
    ------
    WeightsError
        When the configuration or the weights cannot be used, or some of them are not there.
    OSError
        When files cannot be read.
    """
    try:
        return _load(folder, dtype, filed)
    except (WeightsError, OSError):
        raise
    except Exception as error:  # transformers and torch raise what each of their checks happens to raise
        raise WeightsError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error


def _load(folder: Path, dtype: torch.dtype, filed: bool) -> Any:
    from transformers import AutoConfig, AutoModel

    config: Any = AutoConfig.from_pretrained(folder)
    pieces = config.vocab_size
    filed = filed and pieces >= LARGE
    if filed:
        config.vocab_size = (config.pad_token_id or 0) + 1
    with quiet():
        # Loaded as float32 and cast: to load another type, transformers changes torch's default meanwhile, for all
        # threads, and a scorer that computes in one of them breaks.
        model: Any
        model, loaded = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=filed,
            output_loading_info=True,
        )
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise WeightsError(f"{folder} lacks weights that its config.json says it has: {missing[0]}")
    model.pooler = None
    if filed:
        wrong = sorted(name for name, *_ in loaded["mismatched_keys"] if not name.endswith(_TABLE))
        if wrong:
            raise WeightsError(f"{folder} holds weights of another shape than its config.json says: {wrong[0]}")
        config.vocab_size = model.config.vocab_size = pieces
        model.embeddings.word_embeddings = _table(folder, pieces, dtype)
    return model.to(dtype).eval()


def _table(folder: Path, pieces: int, dtype: torch.dtype) -> FileEmbedding:
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            name = next((name for name in opened.keys() if name.endswith(_TABLE)), None)  # noqa: SIM118  - no mapping
        if name is not None:
            table = FileEmbedding(file, name, dtype)
            if table.pieces != pieces:
                raise WeightsError(f"{file} holds {table.pieces} word pieces, config.json says {pieces}")
            return table
    raise WeightsError(f"{folder} has no weights named {_TABLE}")
