"""Secrets of URLs never come out, whatever else is in the text."""

import time

import pytest

from streams.telemetry.masking import masked

SECRETS = ("hunter2", "p@ss", "AKIAXYZ", "se/cr?et")


@pytest.mark.parametrize(
    "text",
    [
        "redis://h/0?password=hunter2",
        "Error 111 connecting to rediss://me:hunter2@h:6379/0?db=1&token=AKIAXYZ, again",
        "redis+cluster://user:hunter2@a:1,b:2,c:3/0",
        "redis+sentinel://:p@ss@a:1,b:2/mymaster/0?sentinel_password=hunter2&sentinel_username=x",
        "s3://AKIAXYZ:se/cr?et@bucket/models and s3://b/m?X-Amz-Signature=hunter2&X-Amz-Credential=AKIAXYZ",
        "https://hooks.example/x?key=hunter2;sig=AKIAXYZ",
        "{'url': 'redis://me:hunter2@h/0', 'other': \"https://h/?api_key=AKIAXYZ\"}",
        "https://h/?Access_Key=AKIAXYZ&secret=hunter2#there",
    ],
)
def test_no_secret_of_a_url_is_left(text: str) -> None:
    shown = masked(text)
    assert not any(secret in shown for secret in SECRETS) and "***" in shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "redis://127.0.0.1:6379/0?db=1",
        "late_interaction:1a2b3c4d@all-MiniLM-L6-v2@5f6a7b8c/i32t156f4 serves",
        "shop.events[3]@812: key=abc is no event",
        "https://h/search?monkey=1&q=token",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("piece", ["a", "a://", "token", "?token", "a://b@", "&key=", "%"])
def test_long_lines_cost_little(piece: str) -> None:
    """Seconds would hold a role up; what took the square of the length took ten of them."""
    text = f"redis://u:{SECRETS[0]}@h/0 " + piece * (100_000 // len(piece)) + "="
    started = time.process_time()
    assert SECRETS[0] not in masked(text)
    assert time.process_time() - started < 1
