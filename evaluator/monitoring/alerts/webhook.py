"""Alerts as a webhook's messages: the alert as JSON, signed, so that a receiver knows who sent it and when.

Headers and signature are those of Standard Webhooks (standardwebhooks.com), which has libraries in most languages:
HMAC-SHA256 over id, time and body. A message keeps its id however often it is sent. Pure: nothing is sent here.
The Python library (standardwebhooks 1.1.0) is used only in this module's test: it reads the system's clock, and
malformed input raises errors other than its own.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from evaluator.monitoring.alerts.alert import Alert
from evaluator.translations import Language, live

TOLERANCE_S = 300
"""A message whose time is further from the receiver's clock is refused as a replay."""

SECRET_PREFIX = "whsec_"
"""The prefix of a secret in base64; any other secret is used as it is."""


class Message(Alert, frozen=True, kw_only=True, omit_defaults=True):
    """The body: an alert, the message's id, and where a person can look."""

    id: str
    link: str | None = None


class Signed(NamedTuple):
    """A request that can be sent."""

    body: bytes
    headers: dict[str, str]


class BadSignatureError(ValueError):
    """A message must not be trusted; the text gives the reason."""


def message_id(topic: str, partition: int, offset: int, value: bytes) -> str:
    """A message's id: the same for the same record, whichever process sends it and however often.

    Examples
    --------
    >>> message_id("liveshelf.alerts", 0, 7, b"{}")
    'msg_5de52759c36625550cfe486e'
    """
    place = f"{topic}[{partition}]@{offset}".encode()
    return "msg_" + hashlib.blake2b(place + b"\0" + value, digest_size=12).hexdigest()


def sign(secret: str, id: str, timestamp_s: int, body: bytes) -> str:
    """The signature of a message.

    Examples
    --------
    >>> sign("a secret of 16 letters", "msg_1", 1_700_000_000, b"{}")
    'v1,V2XEy+WBLZRq8JMQZblMbWbAzKEIdAJJBS7WLNYidvU='
    """
    digest = hmac.new(key(secret), f"{id}.{timestamp_s}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def request(
    alert: Alert, id: str, secret: str, now_s: int, link: str | None = None, language: Language = "en"
) -> Signed:
    """An alert as a request, its summary in a language; each attempt needs a new one, because the time is signed."""
    told = msgspec.structs.replace(alert, summary=live().say(alert.summary, language))
    body = msgspec.json.encode(Message(**msgspec.structs.asdict(told), id=id, link=link))
    signature = sign(secret, id, now_s, body)
    return Signed(body, {"webhook-id": id, "webhook-timestamp": str(now_s), "webhook-signature": signature})


def verify(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> Message:
    """The message of a request, for receivers written in Python.

    Parameters
    ----------
    headers
        The request's headers, with names in lower case.
    body
        The request's body, byte by byte as received.
    now_s
        The receiver's clock, epoch seconds.

    Raises
    ------
    BadSignatureError
        When it was not signed with the secret, or not within :data:`TOLERANCE_S` of now. The same message may come
        twice, with the same ``id``.

    Examples
    --------
    >>> alert = Alert(name="drop", labels={}, state="firing", summary="Fewer clicks", evidence={"rate": 0.1}, since=0)
    >>> sent = request(alert, "msg_1", "a secret of 16 letters", now_s=1_700_000_000)
    >>> verify("a secret of 16 letters", sent.headers, sent.body, now_s=1_700_000_060).summary
    'Fewer clicks'
    >>> verify("a secret of 16 letters", sent.headers, sent.body, now_s=1_700_000_600)
    Traceback (most recent call last):
    ...
    evaluator.monitoring.alerts.webhook.BadSignatureError: The message is 600 s from now: ...
    """
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,15}", timestamp):
        raise BadSignatureError("The message has no time")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        away = abs(now_s - int(timestamp))
        raise BadSignatureError(f"The message is {away:.0f} s from now: a replay, or a clock that is wrong")
    wanted = sign(secret, id, int(timestamp), body).encode()
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split()
    if not any(hmac.compare_digest(wanted, one) for one in given):
        raise BadSignatureError("The message is not signed with this secret")
    try:
        return msgspec.json.decode(body, type=Message)
    except msgspec.MsgspecError as error:
        raise BadSignatureError(f"The message is signed, but is no alert: {error}") from error


def key(secret: str) -> bytes:
    """The bytes that a secret stands for; ValueError when they cannot be read."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a secret that begins with {SECRET_PREFIX} goes on in base64: {error}") from error
