"""Where the live page is, as a browser wants it. Light to import, for those who only name it."""


def address(host: str, port: int) -> str:
    """Of a server that listens everywhere, the address on this machine.

    Examples
    --------
    >>> address("127.0.0.1", 8765), address("0.0.0.0", 80), address("::1", 80)
    ('http://127.0.0.1:8765', 'http://127.0.0.1:80', 'http://[::1]:80')
    """
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
