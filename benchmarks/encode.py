"""How many items a second are encoded, and what share of what the machine can multiply is that?

Icecat titles with short descriptions through the same BERT weights, in every way there is: padded batches of 64 as
transformers' users write them, and packed rows in each engine and number format. The ceiling is the fastest large
matrix product of that format on that device. Floating-point operations are counted for the texts' own tokens alone:
twice the encoder's weights a token, and the attention of each text to itself. Arms take turns; medians count. Cosines
are to what float32 gives, both as items are stored.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from torch.nn.functional import normalize

from benchmarks.data import products
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.encoded import EncodedItem
from models.encoder import Encoder, Precision, choose_device
from models.engines import EngineName
from models.weights import PACKAGED, quiet, resolve

BATCH = 64
ARMS: tuple[tuple[Precision, EngineName], ...] = (
    ("float32", "eager"),
    ("float32", "inductor"),
    ("bfloat16", "eager"),
    ("bfloat16", "inductor"),
    ("bfloat16", "tensorrt"),
    ("float32", "openvino"),
)
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Arm = Callable[[], list[EncodedItem] | None]


def padded(texts: list[str], device: torch.device, dtype: torch.dtype, limit: int) -> Arm:
    """Batches as they come, each padded to its longest text."""
    from transformers import AutoModel, AutoTokenizer

    folder = resolve(PACKAGED)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    with quiet():
        model: Any = AutoModel.from_pretrained(folder, dtype=dtype, use_safetensors=True).to(device).eval()

    @torch.inference_mode()
    def encode() -> None:
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            batch = tokenizer(some, truncation=True, max_length=limit + 2, padding=True, return_tensors="pt").to(device)
            states = model(**batch).last_hidden_state * batch["attention_mask"].unsqueeze(-1)
            normalize(states.sum(1).float(), dim=-1).cpu()

    return encode


def packed(texts: list[str], device: torch.device, precision: Precision, engine: EngineName) -> Arm | None:
    """Our encoder; none where the engine cannot be had."""
    encoder = Encoder(precision=precision, device=str(device), engine=engine)
    if encoder.engine != engine:
        return None
    encoder.warm_up(1)
    return lambda: encoder.encode_items(texts)


def operations(encoder: Encoder, texts: list[str]) -> float:
    """Floating-point operations that encoding the texts needs, without any padding."""
    config = encoder.config
    layer = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
    lengths = [len(ids) for ids in encoder.token_ids(texts, encoder.max_item_tokens)]
    attention = 4 * config.hidden_size * sum(length**2 for length in lengths)
    return float(config.num_hidden_layers * (2 * layer * sum(lengths) + attention))


def ceiling(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Operations per second of large matrix products, the best of several runs."""
    size = 8_192 if device.type == "cuda" else 1_536
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        _ = one @ other
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


@smoke(items=20, rounds=1, only=["eager"])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    items: Annotated[int, typer.Option(help="Items encoded in a round.")] = 500,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "cpu",
    only: Annotated[list[str] | None, typer.Option(help="Packed rows by these engines only; repeatable.")] = None,
) -> None:
    """Measure and print; some minutes on two cores, most of them compiling."""
    logging.disable(logging.WARNING)
    where = choose_device(device)
    texts = [f"{product.title} {product.short_description}" for product in products(items)]
    reference = Encoder(precision="float32", device=str(where))
    ways = [(precision, engine) for precision, engine in ARMS if not only or engine in only]
    arms = dict(every_arm(texts, where, reference.max_item_tokens, ways))
    seconds = measure({name: arm for name, (arm, _) in arms.items()}, rounds)
    work = operations(reference, texts)
    ceilings = {name: ceiling(where, FORMATS[name]) for name in {precision for _, precision in arms.values()}}
    report = Report("encode", device=_named(where), items=len(texts), rounds=rounds, gflop=work / 1e9)
    report.facts |= {f"ceiling_{name}_gflop_s": value / 1e9 for name, value in ceilings.items()}
    base = statistics.median(seconds[next(iter(arms))])
    exact = reference.encode_items(texts)
    for name, (_, precision) in arms.items():
        median = statistics.median(seconds[name])
        report.row(
            arm=name,
            items_per_s=len(texts) / median,
            slowest=len(texts) / max(seconds[name]),
            fastest=len(texts) / min(seconds[name]),
            times_padded_float32=base / median,
            share_of_ceiling=work / median / ceilings[precision],
            **cosines(exact, arms[name][0]()),
        )
    report.write(json)


def cosines(exact: list[EncodedItem], found: list[EncodedItem] | None) -> dict[str, float]:
    """Mean cosines of pooled vectors and of token states to those of float32, both as they are stored."""
    if found is None:
        return {}
    pooled = [one.pooled.astype(np.float32) @ own.pooled for one, own in zip(exact, found, strict=True)]
    tokens = [(one.restored() * own.restored()).sum(1).mean() for one, own in zip(exact, found, strict=True)]
    return {"cosine": float(np.mean(pooled)), "token_cosine": float(np.mean(tokens))}


def every_arm(
    texts: list[str], device: torch.device, limit: int, ways: Sequence[tuple[Precision, EngineName]]
) -> Iterator[tuple[str, tuple[Arm, str]]]:
    """Arms with their number formats, by name; those that this machine has no engine for are left out."""
    native = Encoder(device=str(device)).dtype
    for precision, dtype in FORMATS.items():
        if dtype in {torch.float32, native}:
            yield f"padded batches of {BATCH}, {precision}", (padded(texts, device, dtype, limit), precision)
    for way, engine in track(ways, "compiling"):
        if FORMATS[way] in {torch.float32, native} and (arm := packed(texts, device, way, engine)):
            yield f"packed rows, {'int8' if engine == 'openvino' else way}, {engine}", (arm, way)


def measure(arms: Mapping[str, Arm], rounds: int) -> dict[str, list[float]]:
    """Seconds of every arm in every round; one round before is for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in track(range(rounds + 1), "measuring"):
        for name, arm in arms.items():
            start = time.perf_counter()
            arm()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    typer.run(main)
