"""Takes the picture of the live page in docs: a local stack, simulated shoppers, a browser.

Run as ``python -m tests.dashboard_picture --minutes 10 --out docs/dashboard.png``; with ``LIVESHELF_DATA`` the
catalogue is a real one. Windows are short, so that impressions close while one watches.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from liveshelf.demo.shop import Shop
from liveshelf.demo.story import ENOUGH, catalogue
from liveshelf.demo.terminal_ui import Numbers
from liveshelf.settings import load
from liveshelf.stack.process import Process
from tests.shop import until

WIDTH, HEIGHT = 1280, 1136
EVALUATOR = {"WINDOW_S": "20", "GRACE_S": "5", "IDLE_S": "5", "WATCH_LEARN": "3000"}


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("docs/dashboard.png"))
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--whole", action="store_true", help="the whole page, not its beginning")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "up.log"
        env = {f"LIVESHELF_EVALUATOR__{name}": value for name, value in EVALUATOR.items()}
        env["LIVESHELF_STACK__FOLDER"] = os.environ["LIVESHELF_STACK__FOLDER"] = str(Path(folder) / "stack")
        stack = Process([sys.executable, "-m", "liveshelf", "up"], log=log, env=env)
        try:
            found = until(lambda: re.search(r"dashboard at (http://\S+)", log.read_text()), log.read_text)
            shop = Shop(load(), catalogue(1), seed=1)
            with shop.running():
                until(lambda: Numbers.of(shop.listener.lately).items >= ENOUGH, log.read_text)
                shop.open()
                time.sleep(given.minutes * 60)
                shop.check()
                picture(found[1], given.out, given.scheme, given.whole)
        finally:
            stack.stop(timeout_s=30)


def picture(address: str, out: Path, scheme: str, whole: bool) -> None:
    """Take it, with a shelf in the inspector."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(address)
        page.select_option("#rate-window", "15m")
        page.fill("#ask-value", "shopper-1")
        page.press("#ask-value", "Enter")
        page.wait_for_selector("#shelf tbody tr")
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.wait_for_timeout(2_000)
        page.screenshot(path=out, full_page=whole)
        browser.close()


if __name__ == "__main__":
    main()
