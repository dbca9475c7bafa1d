"""What MkDocs needs besides the pages: the README as home page, pages from the root, and a page of the API a package.

Knows where things are in the checkout; nothing of what pages say.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "streams", "evaluator", "liveshelf")
FROM_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
OF_ROOT = re.compile(r"\]\((LICENSE|[A-Z]+\.md)\)")


def on_config(config: Any) -> Any:
    """Put the API's pages into the navigation."""
    [api] = [section["API"] for section in config.nav if isinstance(section, dict) and "API" in section]
    for package in PACKAGES:
        rooms = [{room: _page(package, room)} for room in _rooms(package)]
        api.append({package: [{package: _page(package)}, *rooms]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in ``docs``."""
    for name, page in FROM_ROOT.items():
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        text = OF_ROOT.sub(lambda found: f"]({FROM_ROOT.get(found[1], found[1])})", text)
        files.append(File.generated(config, page, content=text))
    for package in PACKAGES:
        files.append(_api(config, package, "", sorted((ROOT / package).glob("*.py"))))
        for room in _rooms(package):
            files.append(_api(config, package, room, sorted((ROOT / package / room).rglob("*.py"))))
    return files


def _rooms(package: str) -> list[str]:
    return sorted(path.parent.name for path in (ROOT / package).glob("*/__init__.py"))


def _page(package: str, room: str = "") -> str:
    return f"api/{package}{'-' if room else ''}{room}.md"


def _api(config: Any, package: str, room: str, modules: list[Path]) -> File:
    """A page with all modules of a room, each by its docstrings."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules if path.stem != "__init__"]
    told = "\n\n".join(f"::: {name}" for name in names if not name.endswith("__main__"))
    title = f"{package}.{room}" if room else package
    return File.generated(config, _page(package, room), content=f"# `{title}`\n\n{told}\n")
