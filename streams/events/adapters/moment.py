"""Parses times in the formats that shops use: text or a number in, epoch milliseconds out."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import field_validator

from streams.config import Config


class MomentConfig(Config):
    """``format`` is ``auto`` (ISO 8601, or epoch milliseconds), ``epoch_s``, or a pattern of ``strptime``.

    ``zone`` is the time zone of times that name none, e.g. ``Europe/London``. Without it such times are refused: a
    wrong guess would shift a shop's whole history without notice.
    """

    format: str = "auto"
    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        if zone is not None:
            _zone(zone)
        return zone

    def reader(self) -> Callable[[Any], int]:
        """The function from a value to epoch milliseconds; it raises `ValueError` for a value that it cannot read.

        Examples
        --------
        >>> MomentConfig(zone="UTC").reader()("2010-12-01 08:26:00")
        1291191960000
        >>> MomentConfig(format="%d.%m.%Y", zone="Europe/Berlin").reader()("01.12.2010")
        1291158000000
        >>> MomentConfig().reader()("2010-12-01 08:26:00")
        Traceback (most recent call last):
        ValueError: '2010-12-01 08:26:00' names no time zone; set the mapping's [ts] zone
        """
        return partial(_read, self.format, _zone(self.zone) if self.zone else None)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"no time zone {name!r}") from error


def _read(how: str, zone: tzinfo | None, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} is no time")
    try:
        if how == "epoch_s":
            return round(float(value) * 1000)
        if not isinstance(value, str):
            return int(value)
        if how == "auto" and value.isascii() and value.isdigit():
            return int(value)
        moment = datetime.fromisoformat(value) if how == "auto" else datetime.strptime(value, how)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{str(value)[:50]!r} is no time: {error}") from error
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{value[:50]!r} names no time zone; set the mapping's [ts] zone")
        moment = moment.replace(tzinfo=zone)
    return int(moment.timestamp() * 1000)
