"""Reads times in the forms that shops use: text or a number in, epoch milliseconds out.

Knows units of epochs, ISO 8601, patterns, and clocks that are put forward and back. Knows nothing of events.
"""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache, partial
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import field_validator

from streams.config import Config, EventsConfig

Unit = Literal["ms", "s", "us", "ns", "auto"]
Note = Callable[[str, object], None]
"""Takes what was converted, and the value."""

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
CALENDAR_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
LATEST_MS = 4_102_444_800_000
"""The year 2100: what is later has another unit."""

EPOCHS: dict[str, Unit] = {"epoch_s": "s", "epoch_ms": "ms", "epoch_us": "us", "epoch_ns": "ns", "epoch": "auto"}

GAP = "local times that the clocks skipped in spring, taken as an hour later"
FOLD = "local times that come twice in autumn, taken as the first"


class MomentConfig(Config):
    """``format`` is ``auto`` (ISO 8601, or a number in the unit of ``events.epoch_unit``), ``epoch_s``, ``epoch_ms``,
    ``epoch_us``, ``epoch_ns``, ``epoch`` (units are told apart by size), or a pattern of ``strptime``.

    ``zone`` is the time zone of times that name none, e.g. ``Europe/London``; by default that of ``events.timezone``.
    Without one such times are refused: a wrong guess would shift a shop's whole history without notice.
    """

    format: str = "auto"
    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        if zone is not None:
            named_zone(zone)
        return zone

    @field_validator("format")
    @classmethod
    def _form(cls, form: str) -> str:
        if form != "auto" and form not in EPOCHS and "%" not in form:
            raise ValueError(f"no format {form!r}; there are auto, {', '.join(EPOCHS)}, or a pattern such as %d.%m.%Y")
        return form

    def reader(self, config: EventsConfig | None = None, note: Note | None = None) -> Callable[[Any], int]:
        """The function from a value to epoch milliseconds; it raises `ValueError` for a value that it cannot read.

        Parameters
        ----------
        config
            The unit, the zone and the earliest day of times that say none.
        note
            Is told of local times that the clocks skipped or had twice.

        Examples
        --------
        >>> MomentConfig(zone="UTC").reader()("2010-12-01 08:26:00")
        1291191960000
        >>> MomentConfig(format="%d.%m.%Y", zone="Europe/Berlin").reader()("01.12.2010")
        1291158000000
        >>> MomentConfig(format="epoch_us").reader()("1768003200000000")
        1768003200000
        >>> MomentConfig().reader()("2010-12-01 08:26:00")
        Traceback (most recent call last):
        ValueError: '2010-12-01 08:26:00' names no time zone: set events.timezone, or [ts] zone of the mapping
        """
        config = config or EventsConfig()
        zone = self.zone or config.timezone
        place = named_zone(zone) if zone else None
        if "%" in self.format:
            return partial(_by_pattern, self.format, place, note)
        unit = EPOCHS.get(self.format, config.epoch_unit)
        return partial(read, unit=unit, zone=place, earliest_ms=config.earliest_ms, note=note)


def read(value: Any, unit: Unit, zone: tzinfo | None, earliest_ms: int, note: Note | None = None) -> int:
    """Epoch milliseconds of a number, a text of digits, or ISO 8601; a fraction of a millisecond is cut.

    Raises
    ------
    ValueError
        When it is no time, or names no zone and ``zone`` is None.

    Examples
    --------
    >>> read(1768003200000.5, "ms", None, 0), read("2026-01-10 00:00:00+01", "ms", None, 0)
    (1768003200000, 1767999600000)
    >>> read("1768003200", "auto", None, 946_684_800_000)
    1768003200000
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} is no time")
    try:
        if not isinstance(value, str):
            return from_epoch(value, unit, earliest_ms)
        text = value.strip()
        if len(text) <= 64 and text.replace(".", "", 1).lstrip("-").isdecimal() and text.isascii():
            return from_epoch(int(text) if "." not in text else float(text), unit, earliest_ms)
        if text.endswith((" UTC", " GMT")):
            text = text[:-4] + "+00:00"
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{str(value)[:50]!r} is no time: {error}") from error
    return milliseconds(_placed(moment, zone, note))


def from_epoch(number: float, unit: Unit, earliest_ms: int) -> int:
    """Epoch milliseconds of a number in a unit; ``auto`` takes the unit in which the time is plausible, else ms.

    Examples
    --------
    >>> [from_epoch(n, "auto", 946_684_800_000) for n in (1768003200, 1768003200123456, 5)]
    [1768003200000, 1768003200123, 5]
    """
    if unit == "ms":
        return int(number)
    if unit == "auto":
        unit = looks_like(number, earliest_ms) or "ms"
    per_second = PER_SECOND[unit]
    if not isinstance(number, int) and not abs(number) < 1e300:
        raise ValueError("not finite")
    return number * 1000 // per_second if isinstance(number, int) else int(number * 1000 / per_second)


def looks_like(number: float, earliest_ms: int) -> Literal["s", "ms", "us", "ns"] | None:
    """The unit in which a number is a time between ``earliest_ms`` and the year 2100, if there is one.

    Examples
    --------
    >>> [looks_like(n, 946_684_800_000) for n in (1768003200, 1768003200000, 1768003200000000000, 7)]
    ['s', 'ms', 'ns', None]
    """
    units: tuple[Literal["s", "ms", "us", "ns"], ...] = ("ms", "s", "us", "ns")
    return next((u for u in units if earliest_ms <= number * 1000 / PER_SECOND[u] < LATEST_MS), None)


def implausible(number: float, earliest_ms: int) -> str:
    """Why a time in milliseconds is refused that is before ``earliest_ms`` or beyond all calendars; with the unit that
    it seems to have.

    Examples
    --------
    >>> implausible(1768003200, 946_684_800_000)
    '1768003200 looks like seconds: send milliseconds, or set events.epoch_unit'
    """
    unit = looks_like(number, earliest_ms) if number > 0 else None
    if unit is not None and unit != "ms":
        return f"{number:.0f} looks like {UNIT_NAMES[unit]}: send milliseconds, or set events.epoch_unit"
    if number >= LATEST_MS:
        return f"{number:.0f} is no time in milliseconds since 1970"
    first = datetime.fromtimestamp(earliest_ms / 1000, UTC).date()
    return f"Expected a time since {first} (events.earliest)"


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds, cut.

    Examples
    --------
    >>> milliseconds(datetime(2026, 1, 1, microsecond=999, tzinfo=UTC))
    1767225600000
    """
    return int(moment.timestamp() * 1000)


@lru_cache(maxsize=64)
def named_zone(name: str) -> tzinfo:
    """The time zone of a name.

    Raises
    ------
    ValueError
        When there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"no time zone {name!r}") from error


def _by_pattern(pattern: str, zone: tzinfo | None, note: Note | None, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} is no time")
    try:
        moment = datetime.strptime(str(value).strip(), pattern)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{str(value)[:50]!r} is no time: {error}") from error
    return milliseconds(_placed(moment, zone, note))


def _placed(moment: datetime, zone: tzinfo | None, note: Note | None) -> datetime:
    """The moment in its zone. In spring the clocks skip an hour: 02:30 is then what a clock shows that was not put
    forward, so 03:30. In autumn an hour comes twice: the first is taken."""
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise ValueError(f"{str(moment)!r} names no time zone: set events.timezone, or [ts] zone of the mapping")
    placed = moment.replace(tzinfo=zone)
    if note is not None and zone is not UTC:
        before, after = placed.utcoffset(), placed.replace(fold=1).utcoffset()
        if before is not None and after is not None and before != after:
            note(GAP if before < after else FOLD, moment)
    return placed
