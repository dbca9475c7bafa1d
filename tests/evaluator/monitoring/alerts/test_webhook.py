"""The webhook's signature: what a receiver can rely on, checked also without our own code."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.webhook import TOLERANCE_S, BadSignatureError, message_id, request, verify

WORDS = "a secret of 16 letters, and no base64"
SECRET = "whsec_" + base64.b64encode(b"sixteen letters or more").decode()
NOW = 1_700_000_000
ALERT = Alert(name="drop", labels={"arm": "é"}, state="firing", summary="Fewer", evidence={"rate": 0.1}, since=5)


def test_the_five_lines_of_the_page_verify() -> None:
    now = int(time.time())
    body, headers = request(ALERT, "msg_1", SECRET, now, "https://shop.example/live")
    page = (Path(__file__).parents[4] / "docs" / "alerts.md").read_text()
    lines = page.partition("```python\n")[2].partition("```")[0]
    known = {"base64": base64, "hashlib": hashlib, "hmac": hmac, "time": time}
    secret = base64.b64decode(SECRET.removeprefix("whsec_"))
    exec(lines, known | {"headers": headers, "body": body, "secret": secret})
    with pytest.raises(AssertionError, match="not from Liveshelf"):
        exec(lines, known | {"headers": headers, "body": body + b" ", "secret": secret})
    old = request(ALERT, "msg_1", SECRET, now - 301)
    with pytest.raises(AssertionError, match="a replay"):
        exec(lines, known | {"headers": old.headers, "body": old.body, "secret": secret})
    told = json.loads(body)
    assert told == {
        "name": "drop",
        "labels": {"arm": "é"},
        "state": "firing",
        "summary": "Fewer",
        "evidence": {"rate": 0.1},
        "since": 5,
        "id": "msg_1",
        "link": "https://shop.example/live",
    }


def test_the_vector_of_the_standard_verifies() -> None:
    """The example that Standard Webhooks' libraries are tested with."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    with pytest.raises(BadSignatureError, match="is signed, but is no alert"):
        verify(secret, headers, body, 1_614_265_330)


@pytest.mark.parametrize(("secret", "theirs"), [(SECRET, SECRET), (WORDS, WORDS.encode())])
def test_the_standards_library_verifies_ours_and_we_its(secret: str, theirs: str | bytes) -> None:
    now, library = int(time.time()), Webhook(theirs)
    body, headers = request(ALERT, "msg_1", secret, now)
    assert library.verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        library.verify(body + b" ", headers)
    signature = library.sign("msg_1", datetime.fromtimestamp(now, UTC), body.decode())
    assert verify(secret, headers | {"webhook-signature": signature}, body, now).summary == "Fewer"


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_changed_bit_is_noticed(at: int, bit: int) -> None:
    body, headers = request(ALERT, "msg_1", SECRET, NOW)
    changed = bytearray(body)
    changed[at % len(body)] ^= 1 << bit
    with pytest.raises(BadSignatureError, match="not signed with this secret"):
        verify(SECRET, headers, bytes(changed), NOW)


@pytest.mark.parametrize(
    ("changes", "now", "why"),
    [
        ({}, NOW + TOLERANCE_S + 1, "a replay"),
        ({}, NOW - TOLERANCE_S - 1, "a replay"),
        ({"webhook-timestamp": str(NOW + 1)}, NOW, "not signed"),
        ({"webhook-id": "msg_2"}, NOW, "not signed"),
        ({"webhook-signature": ""}, NOW, "not signed"),
        ({"webhook-signature": "v1,é v1a,x"}, NOW, "not signed"),
        ({"webhook-timestamp": "soon"}, NOW, "no time"),
        ({"webhook-timestamp": "٣"}, NOW, "no time"),
    ],
)
def test_what_is_not_ours_or_not_of_now_is_refused(changes: dict[str, str], now: int, why: str) -> None:
    body, headers = request(ALERT, "msg_1", SECRET, NOW)
    assert verify(SECRET, headers, body, NOW).summary == "Fewer"
    with pytest.raises(BadSignatureError, match=why):
        verify(SECRET, headers | changes, body, now)


def test_a_secret_can_be_changed_while_both_are_known() -> None:
    body, headers = request(ALERT, "msg_1", SECRET, NOW)
    _, other = request(ALERT, "msg_1", "the secret that comes next", NOW)
    both = headers | {"webhook-signature": f"{other['webhook-signature']} {headers['webhook-signature']}"}
    assert verify(SECRET, both, body, NOW) == verify("the secret that comes next", both, body, NOW)


def test_an_id_is_of_one_record() -> None:
    ids = {message_id(topic, 0, offset, value) for topic in "ab" for offset in (1, 11) for value in (b"", b"x")}
    assert len(ids) == 8
