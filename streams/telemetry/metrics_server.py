"""A small HTTP server on a thread, from which Prometheus reads a role's metrics.

It sees snapshots only, never the role's data. ``/metrics`` requires the bearer token if one is set; ``/healthz`` is
open to anybody and only says whether the role still reports.
"""

import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from streams.config import MetricsConfig
from streams.telemetry.exposition import Exposition

FRESH_S = 15.0
"""A role that has not reported for this long is unhealthy."""

CLIENT_TIMEOUT_S = 10.0
"""A client that sends nothing for this long is disconnected."""

MOST_CLIENTS = 32
"""How many clients are served at a time, each on a thread; others are disconnected at once."""

Environ = dict[str, Any]
Start = Callable[[str, list[tuple[str, str]]], Any]


class MetricsError(RuntimeError):
    """The metrics cannot be served; the message says what to do."""


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: Prometheus reads every few seconds."""


class _Server(ThreadingWSGIServer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = threading.BoundedSemaphore(MOST_CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a client on its own thread, if there is a free place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a client, then free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a client that disconnects is not our error."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class MetricsServer:
    """Serves an exposition, as a context.

    Parameters
    ----------
    exposition
        What is served.
    config
        The address; its port must be set.

    Raises
    ------
    MetricsError
        On entering, when the port is not available.
    """

    def __init__(self, exposition: Exposition, config: MetricsConfig) -> None:
        self._exposition, self._config = exposition, config
        registry = CollectorRegistry()
        registry.register(exposition)
        self._metrics = make_wsgi_app(registry)
        self._token = config.token.get_secret_value().encode() if config.token else None

    def __enter__(self) -> Self:
        host, port = self._config.host, self._config.port or 0
        try:
            self._server = make_server(host, port, self._answer, _Server6 if ":" in host else _Server, _Handler)
        except OSError as error:
            raise MetricsError(
                f"The metrics cannot be served at {host}:{port}: {error.strerror}. Set LIVESHELF_METRICS__PORT to "
                "another port (0 takes any free one), or LIVESHELF_METRICS__HOST to an address of this machine."
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """The URL from which Prometheus reads."""
        return metrics_address(self._config.host, self._server.server_port)

    def _answer(self, environ: Environ, start: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/healthz":
            well = self._exposition.age_s < FRESH_S
            return _say(start, "200 OK" if well else "503 Service Unavailable", "well" if well else "no report lately")
        if path != "/metrics":
            return _say(start, "404 Not Found", "there are /metrics and /healthz")
        if not self._may(environ.get("HTTP_AUTHORIZATION", "")):
            return _say(
                start,
                "401 Unauthorized",
                "send the token of LIVESHELF_METRICS__TOKEN as 'Authorization: Bearer ...'",
                [("WWW-Authenticate", "Bearer")],
            )
        # The plain text format only: OpenMetrics forbids a counter and a gauge of one name (x_total beside x).
        environ.pop("HTTP_ACCEPT", None)
        served: Iterable[bytes] = self._metrics(environ, start)
        return served

    def _may(self, authorization: str) -> bool:
        wanted = b"Bearer " + (self._token or b"")
        return self._token is None or hmac.compare_digest(authorization.encode("latin-1"), wanted)


def metrics_address(host: str, port: int) -> str:
    """The page's URL, as a program on this machine reaches it.

    Examples
    --------
    >>> metrics_address("0.0.0.0", 9464), metrics_address("::1", 9464)
    ('http://127.0.0.1:9464/metrics', 'http://[::1]:9464/metrics')
    """
    try:
        address = ipaddress.ip_address(host)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        host = f"[{host}]" if address.version == 6 else host
    except ValueError:
        pass
    return f"http://{host}:{port}/metrics"


def _say(start: Start, status: str, text: str, headers: Iterable[tuple[str, str]] = ()) -> list[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]
