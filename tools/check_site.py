"""Check the site that ``make docs`` built: ``python tools/check_site.py site``.

No link inside it is dead (pages, anchors, pictures), on ten of its pages axe-core finds nothing in light and dark, and
its search finds things from ``file://``. What needs a browser needs the packages playwright and axe-playwright-python
and a Chromium; where they are missing that is said, and the links are checked all the same.
"""

import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PAGES = (
    *("index", "audit", "report", "messages", "choose", "gallery", "command_line", "search", "genindex"),
    *("tutorials/engineer", "soundness"),
)
"""Pages that axe-core reads."""

SEARCHED = ("certificate", "linf")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


class Links(HTMLParser):
    """What a page points at, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note targets and anchors."""
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag != "link" or given.get("rel") not in ("canonical", "search"):
            self.targets += [value for name in ("href", "src") if (value := given.get(name))]


def dead_links(site: Path) -> list[str]:
    """Return the links inside a site that lead nowhere."""
    pages = {file.resolve(): Links(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    return [f"{file.relative_to(site.resolve())}: {dead}" for file in pages for dead in _dead(file, pages)]


def _dead(file: Path, pages: dict[Path, Links]) -> Iterator[str]:
    for target in dict.fromkeys(pages[file].targets):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        if not path.is_file() or (
            parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].anchors
        ):
            yield target


def in_browser(site: Path) -> list[str] | None:
    """Return what is wrong with the site in a browser; None where there is none."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        return None
    from playwright.sync_api import sync_playwright

    axe = (files("axe_playwright_python") / "axe.min.js").read_text()
    found = []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme).new_page()
            for name in PAGES:
                page.goto((site.resolve() / f"{name}.html").as_uri())
                found += [f"{name}, {scheme}: {text}" for text in _violations(page, axe)]
        found += [f"search finds nothing for {word!r}" for word in SEARCHED if not _results(page, site, word)]
        browser.close()
    return found


def _violations(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{v['id']}, {len(v['nodes'])} times, first {v['nodes'][0]['target']}" for v in found]


def _results(page: Any, site: Path, word: str) -> int:
    """Return how many pages the site's search finds, opened from its folder."""
    page.goto(f"{(site.resolve() / 'search.html').as_uri()}?q={word}")
    page.wait_for_timeout(2000)
    return page.locator("ul.search li").count()


def main(site: Path) -> int:
    """Check a site and say what is wrong with it."""
    dead, browser = dead_links(site), in_browser(site)
    for line in [*dead, *(browser or [])]:
        print(line)
    seen = "not tried in a browser (chromium, playwright or axe-playwright-python is missing)"
    if browser is not None:
        seen = f"{len(browser)} faults on {len(PAGES)} pages in a browser, light and dark"
    print(f"{site}: {len(dead)} dead links; {seen}")
    return 1 if dead or browser else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
