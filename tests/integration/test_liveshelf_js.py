"""The script for pages, in a real browser, on a real page of another origin than the collector's."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from streams.clock import wall_ms
from streams.config import EventsConfig, KafkaConfig, TopicsConfig
from streams.events.decode import Refusal, decode_event
from streams.events.schema import AnyEvent, Cart, Click, Impression, Search
from streams.kafka.topics import Topics
from tests.browsers import chromium
from tests.collectors import PAGE, collecting, records
from tests.integration.test_collect import environment
from tests.shop import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

TEMPLATE = """<!doctype html><title>Shop</title>
<style>[data-item] {{ display: block; height: 200px }} .below {{ margin-top: 3000px }}</style>
<script src="{collector}/liveshelf.js" data-key="{key}" {user} defer></script>
<h1 data-query="hdmi cable">Results</h1>
<section data-shelf="shelf-1" data-surface="search">
  <a data-item="a" href="/next"><b>A</b></a>
  <a data-item="b" href="#b">B</a>
  <a data-item="c" class="below" href="#c">C</a>
</section>"""


class Pages:
    """A shop's server: each path is a page."""

    def __init__(self) -> None:
        self.html: dict[str, str] = {"/next": "<!doctype html><title>Next</title>"}
        html = self.html

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = html.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    shop = Pages()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture(scope="module")
def topics() -> TopicsConfig:
    return TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=1, compacted_partitions=1)


@pytest.fixture(scope="module")
def collector(
    kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, pages: Pages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    env = environment(kafka.bootstrap_servers, redis_url, topics) | {
        "LIVESHELF_COLLECT__ORIGINS": json.dumps([pages.origin])
    }
    with collecting(env, tmp_path_factory.mktemp("script") / "log") as (where, _):
        yield where


@pytest.fixture(scope="module")
def browser(collector: str) -> Iterator[Browser]:
    """A headless Chromium; started after the servers, for its event loop allows no other one beside it."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


Sent = Callable[[str], list[AnyEvent]]


@pytest.fixture
def sent(kafka: KafkaConfig, topics: TopicsConfig) -> Sent:
    """The events of a user on the topic, each once, as the worker reads them."""

    def found(user: str) -> list[AnyEvent]:
        decoded = [
            decode_event(value, wall_ms(), EventsConfig())
            for key, value, _ in records(kafka, Topics(topics.prefix).events)
            if key == user.encode()
        ]
        assert not [one for one in decoded if isinstance(one, Refusal)]
        return list({one.event_id: one for one in decoded if not isinstance(one, Refusal)}.values())

    return found


@pytest.fixture
def opened(browser: Browser, collector: str, pages: Pages) -> Iterator[Callable[..., tuple[Page, str]]]:
    """Opens the page of a shopper of its own; ``before`` is called with the page before that."""
    contexts = []

    def open_page(before: Callable[[Page], object] = lambda _: None, named: bool = True) -> tuple[Page, str]:
        user = f"u{uuid.uuid4().hex}"
        pages.html[f"/{user}"] = TEMPLATE.format(
            collector=collector, key=PAGE, user=f'data-user="{user}"' if named else ""
        )
        context = browser.new_context(viewport={"width": 800, "height": 600})
        contexts.append(context)
        page = context.new_page()
        before(page)
        page.goto(f"{pages.origin}/{user}")
        return page, user

    yield open_page
    for context in contexts:
        context.close()


def of(kind: type[Any], events: list[AnyEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def shown(events: list[AnyEvent]) -> list[tuple[str, int]]:
    """All items that were reported as seen, with their positions."""
    return [(item.item_id, item.position) for event in of(Impression, events) for item in event.items]


def wait(page: Page, holds: Callable[[], Any]) -> Any:
    """Until something holds, while the browser goes on."""

    def turned() -> Any:
        page.wait_for_timeout(50)
        return holds()

    return until(turned)


def test_what_is_seen_clicked_and_searched_is_reported(opened: Any, sent: Sent) -> None:
    page, user = opened()
    events = wait(page, lambda: (found := sent(user)) and len(shown(found)) >= 2 and found)
    [search] = of(Search, events)
    [impression] = of(Impression, events)
    assert search.query == "hdmi cable" and (impression.shelf_id, impression.surface) == ("shelf-1", "search")
    assert shown(events) == [("a", 0), ("b", 1)], "not what is below the fold"
    assert search.session_id == impression.session_id
    page.click("[data-item=b]")
    page.evaluate("document.querySelector('[data-item=c]').scrollIntoView()")
    page.evaluate("window.liveshelf.send('cart', {item_id: 'b', quantity: 2})")
    events = wait(page, lambda: len(shown(found := sent(user))) >= 3 and of(Cart, found) and found)
    [click], [cart] = of(Click, events), of(Cart, events)
    assert (click.item_id, click.shelf_id, click.position) == ("b", "shelf-1", 1) and cart.quantity == 2
    assert shown(events) == [("a", 0), ("b", 1), ("c", 2)], "each once"


def test_what_passes_quickly_is_not_seen(opened: Any, sent: Sent) -> None:
    page, user = opened(lambda page: page.clock.install())
    page.clock.run_for(500)
    page.evaluate("document.querySelector('[data-item=c]').scrollIntoView()")
    page.wait_for_function("scrollY > 1000")
    page.wait_for_timeout(500)  # the observer tells it with a frame
    page.clock.run_for(5_000)
    events = wait(page, lambda: (found := sent(user)) and shown(found) and found)
    assert shown(events) == [("c", 2)], "the others were on the screen for half a second"


def test_items_that_come_later_are_seen(opened: Any, sent: Sent) -> None:
    page, user = opened()
    page.evaluate(
        "document.querySelector('section').insertAdjacentHTML('afterbegin', '<a data-item=z data-position=7>Z</a>')"
    )
    assert wait(page, lambda: ("z", 7) in shown(sent(user)))


def test_a_click_that_leaves_the_page_is_reported(opened: Any, sent: Sent) -> None:
    page, user = opened()
    page.click("[data-item=a] b")
    page.wait_for_url("**/next")
    [click] = wait(page, lambda: of(Click, sent(user)))
    assert (click.item_id, click.position) == ("a", 0)


def test_a_page_that_is_closed_reports_what_was_seen(opened: Any, sent: Sent, browser: Browser) -> None:
    def no_fetch(page: Page) -> None:
        page.add_init_script("window.fetch = () => new Promise(() => {})")

    page, user = opened(no_fetch)
    page.wait_for_timeout(2_500)
    page.close(run_before_unload=True)
    events = until(lambda: (found := sent(user)) and shown(found) and found)
    assert of(Search, events) and shown(events) == [("a", 0), ("b", 1)]


def test_what_is_not_taken_is_sent_again_with_the_same_ids(opened: Any, sent: Sent) -> None:
    tried: list[str] = []

    def refuse(route: Route) -> None:
        tried.append(route.request.post_data or "")
        if len(tried) == 1:
            route.abort()
        elif len(tried) == 2:
            headers = {"Retry-After": "1", "Access-Control-Expose-Headers": "Retry-After"}
            route.fulfill(status=503, headers=headers | {"Access-Control-Allow-Origin": "*"})
        else:
            route.continue_()

    page, user = opened(lambda page: page.route("**/events?*", refuse))
    [search] = wait(page, lambda: of(Search, sent(user)))
    assert len(tried) >= 3 and all(search.event_id in body for body in tried[:3])


def test_a_guest_has_a_session_over_pages(opened: Any, sent: Sent) -> None:
    page, _ = opened(named=False)
    first = page.evaluate("window.liveshelf.session()")
    assert wait(page, lambda: of(Search, sent(first)))
    page.reload()
    assert page.evaluate("window.liveshelf.session()") == first
    assert wait(page, lambda: len(of(Search, sent(first))) == 2)
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    assert cookies == {"liveshelf": first, "liveshelf_in": "0"}
    told = page.evaluate(
        """(script => ["u1", "u1", "", "", "u2"].map(user => {
            script.dataset.user = user;
            return window.liveshelf.session();
        }))(document.querySelector("script"))"""
    )
    assert told[0] == told[1] == first, "who logs in keeps it"
    assert told[2] == told[3] == told[4] != first, "who logs out has a new one"


def test_the_script_that_is_served_is_the_small_one(collector: str) -> None:
    import httpx

    plain = httpx.get(f"{collector}/liveshelf.js", headers={"Accept-Encoding": "identity"}, trust_env=False)
    packed = httpx.get(f"{collector}/liveshelf.js", headers={"Accept-Encoding": "gzip"}, trust_env=False)
    assert packed.headers["Content-Encoding"] == "gzip" and int(packed.headers["Content-Length"]) <= 2_048
    assert packed.text == plain.text and "text/javascript" in plain.headers["Content-Type"]
    source = Path("liveshelf/collect/static/liveshelf.js").read_text("utf-8")
    assert len(plain.text) < len(source)
