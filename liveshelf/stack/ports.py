"""Loopback ports: which one is free, which one was used before, and whether a server answers. Knows no server."""

import socket
from contextlib import ExitStack
from pathlib import Path

from liveshelf.stack_record import StackError

LOOPBACK = "127.0.0.1"
LAST = 65_535


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts connections on this loopback port now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def choose(wanted: int, remembered: Path, owner: str, setting: str, but_not: int = 0) -> int:
    """The port to listen on: the wanted one, else the previous one if still free, else any free one. It is stored.

    Parameters
    ----------
    wanted : int
        0 lets this function choose.
    remembered : Path
        The file that stores the port between runs.
    owner, setting : str
        For the message: who listens, and the setting of the port.
    but_not : int
        A port that is reserved although nothing listens there yet.

    Raises
    ------
    StackError
        When a wanted port is taken.
    """
    if wanted:
        if not is_free(wanted):
            raise StackError(
                f"{owner} cannot listen on {LOOPBACK}:{wanted}: another program has that port. "
                f"Stop that program, or set {setting} to another port (0 takes any free one)."
            )
        port = wanted
    else:
        port = _last(remembered)
        while port in (0, but_not) or not is_free(port):
            with socket.socket() as probe:
                probe.bind((LOOPBACK, 0))
                port = int(probe.getsockname()[1])
    remembered.write_text(f"{port}\n")
    return port


def several(count: int, first: int, owner: str, setting: str) -> list[int]:
    """``count`` ports in a row from the first one on; with 0, any free ones, all different.

    Raises
    ------
    StackError
        When one of the row is taken or does not exist.
    """
    if not first:
        with ExitStack() as held:
            probes = [held.enter_context(socket.socket()) for _ in range(count)]
            for probe in probes:
                probe.bind((LOOPBACK, 0))
            return [int(probe.getsockname()[1]) for probe in probes]
    row = list(range(first, first + count))
    for port in row:
        if port > LAST or not is_free(port):
            raise StackError(
                f"{owner} cannot listen on {LOOPBACK}:{port}: another program has that port, or there is none. "
                f"Set {setting} so that {count} ports in a row are free from there on (0 takes any free ones)."
            )
    return row


def _last(remembered: Path) -> int:
    try:
        return int(remembered.read_text())
    except (OSError, ValueError):
        return 0
