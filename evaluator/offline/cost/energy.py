"""Energy: the processor's own counters where they can be read, else processor time at an assumed power.

Knows the files of Linux's powercap (RAPL); nothing of what is measured.
"""

from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

WATTS_PER_CORE = 4.0
"""What a busy core is taken to draw: a server's processor of 400 W has about a hundred."""

Joules = Callable[[], float]
"""Joules since some moment; grows."""


def counter(root: Path = POWERCAP) -> Joules | None:
    """The counter of all processor packages; None where there is none, or it may not be read.

    It counts all that runs on the machine. Counters that start anew at their largest value are followed.
    """
    zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _text(zone / "name").startswith("package")]
    if not zones or any(not _text(zone / "energy_uj") for zone in zones):
        return None
    last = {zone: int(_text(zone / "energy_uj")) for zone in zones}
    total = 0

    def joules() -> float:
        nonlocal total
        for zone in zones:
            now = int(_text(zone / "energy_uj"))
            around = int(_text(zone / "max_energy_range_uj") or 0) if now < last[zone] else 0
            total += now - last[zone] + around
            last[zone] = now
        return total / 1e6

    return joules


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return ""
