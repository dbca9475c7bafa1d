"""How many events a second does one collector take, acknowledged by Kafka, and what does it add to a read of Redis?

``python -m benchmarks.collect --json F``. Starts its own Kafka, Redis and collector, and sends over raw sockets. The
collector is one process with one thread, so its own processor time says what one core takes, whatever else the machine
does; the time by the clock is that of everything together. A shelf is read in turn from Redis and through the
collector, by one client without a pause, once with nothing else going on and once while events come.
"""

import asyncio
import http.client
import os
import re
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import numpy as np
import psutil
import typer
from redis import Redis

from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.settings import StackConfig
from liveshelf.stack.process import Process, tail
from liveshelf.stack.servers import stack
from streams.clock import wall_ms
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.redis import keys

READY_S = 60.0
FREE = {"LIVESHELF_COLLECT__KEY_PER_S": "1e9"}
USER = "u1"


def body(count: int) -> bytes:
    """A request of so many clicks, each with an id of its own."""
    events = [
        {
            "type": "click",
            "event_id": uuid.uuid4().hex,
            "ts": wall_ms(),
            "user_id": f"u{number % 97}",
            "item_id": f"{number}",
            "shelf_id": uuid.uuid4().hex[:24],
            "position": number % 20,
        }
        for number in range(count)
    ]
    lines = b"\n".join(map(msgspec.json.encode, events))
    head = ("POST /events HTTP/1.1", "Host: 127.0.0.1", "Content-Type: text/plain", f"Content-Length: {len(lines)}")
    return "\r\n".join((*head, "", "")).encode() + lines


async def post(port: int, requests: Sequence[bytes], senders: int, until_s: float) -> tuple[int, list[float]]:
    """Send requests over so many connections until a time; how many were taken, and each one's milliseconds."""
    took: list[float] = []

    async def sender(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = first
        while time.perf_counter() < until_s:
            began = time.perf_counter()
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 202 " not in head.split(b"\r\n", 1)[0]:
                raise SystemExit(f"not taken: {head!r}")
            length = re.search(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            took.append((time.perf_counter() - began) * 1000)
            number += senders
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(sender(first) for first in range(senders)))
    return len(took), took


def percentiles(took: Sequence[float]) -> dict[str, float]:
    """The median and the 99th percentile, in milliseconds."""
    return {f"p{part}_ms": round(float(np.percentile(took, part)), 2) for part in (50, 99)}


def accepted(report: Report, port: int, process: psutil.Process, batch: int, senders: int, seconds: float) -> None:
    """A row: events taken in so many seconds, by requests of one size."""
    requests = [body(batch) for _ in range(max(senders, 512 // batch))]
    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    count, took = asyncio.run(post(port, requests, senders, began + seconds))
    clock_s, cpu_s = time.perf_counter() - began, sum(process.cpu_times()[:2]) - before
    report.row(
        part="events",
        events_a_request=batch,
        connections=senders,
        per_s=round(count * batch / clock_s),
        per_core_s=round(count * batch / max(cpu_s, 0.01)),
        cores=round(cpu_s / clock_s, 2),
        **percentiles(took),
        mb=round(process.memory_info().rss / 1e6),
    )


def reads(port: int, redis: "Redis", count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of reads from Redis and through the collector, in turn."""
    wire = http.client.HTTPConnection("127.0.0.1", port)
    key, raw, through = keys.feed(USER), list[float](), list[float]()

    def by_http() -> bytes:
        wire.request("GET", f"/shelf/feed/{USER}")
        return wire.getresponse().read()

    def by_redis() -> object:
        return redis.get(key)

    ways: tuple[tuple[Callable[[], object], list[float]], ...] = ((by_redis, raw), (by_http, through))
    for _ in range(count):
        for read, took in ways:
            began = time.perf_counter()
            value = read()
            took.append((time.perf_counter() - began) * 1000)
            assert isinstance(value, bytes) and len(value) > 1_000
    wire.close()
    return raw, through


def compared(report: Report, name: str, port: int, redis: "Redis", count: int) -> None:
    """A row: reads from Redis, and through the collector."""
    raw, through = reads(port, redis, count)
    one, other = percentiles(raw), percentiles(through)
    report.row(
        part="shelves",
        meanwhile=name,
        reads=count,
        redis_p50_ms=one["p50_ms"],
        redis_p99_ms=one["p99_ms"],
        shelf_p50_ms=other["p50_ms"],
        shelf_p99_ms=other["p99_ms"],
        more_at_p99_ms=round(other["p99_ms"] - one["p99_ms"], 2),
    )


def shelf() -> bytes:
    """A full shelf."""
    items = [ShelfItem(f"{number:08}", 0.5, 0.01, 0.05, 0.1, f"like:{number:08}") for number in range(20)]
    now = wall_ms()
    return encoder.encode(
        Shelf(shelf_id="5" * 24, surface="feed", model="m", arm="champion", made_at=now, event_ts=now, items=items)
    )


def collector(env: dict[str, str], log: Path) -> tuple[Process, int]:
    """A collector that takes records, and its port."""
    process = Process([sys.executable, "-m", "liveshelf", "collect", "--port", "0"], log=log, env=env)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.running:
        if found := re.search(r"collector at http://127.0.0.1:(\d+)", log.read_text()):
            port = int(found[1])
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success:
                return process, port
        time.sleep(0.1)
    raise SystemExit(f"the collector did not come up:\n{tail(log)}")


@smoke(seconds=0.3, count=20, warm_s=0.1)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    seconds: Annotated[float, typer.Option(help="How long each size of requests is sent.")] = 8.0,
    count: Annotated[int, typer.Option(help="How often a shelf is read.")] = 5_000,
    warm_s: Annotated[float, typer.Option(help="How long is sent before anything is measured.")] = 2.0,
) -> None:
    """Measure; about a minute."""
    report = Report("collect", seconds=seconds, shelf_bytes=len(shelf()))
    with tempfile.TemporaryDirectory() as at, stack(StackConfig(folder=Path(at)), say=print) as servers:
        env = FREE | {"KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap_servers, "REDIS_URL": servers.redis_url}
        running, port = collector(env, Path(at) / "collect.log")
        with Redis.from_url(servers.redis_url) as redis:
            redis.set(keys.feed(USER), shelf())
            process = psutil.Process(running.pid)
            asyncio.run(post(port, [body(10)] * 4, 4, time.perf_counter() + warm_s))
            for batch, senders in ((1, 1), (1, 32), (10, 16), (100, 8), (1_000, 4)):
                accepted(report, port, process, batch, senders, seconds)
            reads(port, redis, count // 10)
            compared(report, "nothing", port, redis, count)
            with_events(report, port, redis, count)
        running.stop(timeout_s=30)
    report.facts["load_average"] = round(os.getloadavg()[0], 1)
    report.write(json_path)


def with_events(report: Report, port: int, redis: "Redis", count: int) -> None:
    """The same while one page after the other sends ten events, without a pause."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            asyncio.run(post(port, [body(10)], 1, time.perf_counter() + 0.2))

    sending = threading.Thread(target=send)
    sending.start()
    try:
        compared(report, "10 events a request", port, redis, count)
    finally:
        over.set()
        sending.join()


if __name__ == "__main__":
    typer.run(main)
