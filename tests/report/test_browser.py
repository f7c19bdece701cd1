"""The page in a browser: nothing loaded, nothing violated, every view a link, everything by keyboard, four pages."""

import re
import shutil
from importlib.resources import files

import numpy as np
import pytest

import epsball as eb
from report.folders import HOSTILE, write_run, write_series

playwright = pytest.importorskip("playwright.sync_api", reason="the page's browser tests need the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("the page's browser tests need a Chromium (Debian: apt-get install chromium)", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
MIXED = ["certified", "broken", "undecided", "misclassified", "invalid"] * 24
NAMES = ["zero", "one"]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "run"
    write_run(folder, MIXED, names=NAMES, margins=np.linspace(-1, 1, len(MIXED)))
    return eb.page(folder).write().resolve()


@pytest.fixture
def opened(browser):
    """Return a function that opens a page; what goes wrong in it fails the test."""
    seen, contexts = [], []

    def open_page(file, address="", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        page.on("request", lambda request: request.url.startswith(file.as_uri()) or seen.append(request.url))
        page.goto(file.as_uri() + address)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen == []


def violations(page):
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core comes with the package axe-playwright-python")
    page.evaluate((files(axe) / "axe.min.js").read_text())
    return [
        (violation["id"], [node["target"] for node in violation["nodes"]][:3])
        for violation in page.evaluate("async () => (await axe.run()).violations")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])  # 320: a phone, and a desktop at 400%
def test_accessibility(opened, file, scheme, width):
    page = opened(file, "#ex=1&open=risk-table", color_scheme=scheme, viewport={"width": width, "height": 800})
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(opened, file, width):
    page = opened(file, "#ex=1", viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_zoomed_to_400_percent(opened, file):
    """A desktop of 1280 x 1024 pixels at 400%: all is reached by keyboard, and nobody scrolls aside."""
    options = {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4, "reduced_motion": "reduce"}
    page = opened(file, "#ex=1", **options)
    page.wait_for_selector("#flip")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    covered = """() => {
        const here = document.activeElement, box = here.getBoundingClientRect();
        if (here === document.body) return null;
        const x = Math.min(319, Math.max(0, box.left + 3)), y = Math.min(255, Math.max(0, box.top + 3));
        const top = document.elementFromPoint(x, y);
        const seen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
        return seen && top !== null && (here.contains(top) || top.contains(here)) ? null : here.outerHTML.slice(0, 90);
    }"""
    for key in ["Tab"] * 40 + ["j"] * 2 + ["Shift+Tab"] * 5:
        page.keyboard.press(key)
        assert page.evaluate(covered) is None


def test_names_of_200_letters_fit(opened, tmp_path):
    names = [f"{k} {'クラスの名前' * 33}"[:200] for k in range(5)] + [f"{k}{'x' * 198}" for k in range(5)]
    folder = write_run(tmp_path / ("run" * 40), ["broken", "certified"] * 5, labels=range(10), names=names)
    file = eb.page(folder).write().resolve()
    for width in (1280, 320):
        page = opened(file, "#ex=1&open=classes-table", viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page = opened(file, viewport={"width": 1280, "height": 800})
    assert violations(page) == []


def test_a_thousand_classes(opened, tmp_path):
    names = [f"class {k}" for k in range(1000)]
    folder = write_run(tmp_path / "run", ["broken", "certified"] * 500, labels=range(1000), names=names)
    page = opened(eb.page(folder).write().resolve())
    page.click("#classes-table summary")
    page.fill("#q", "class 999")
    assert page.inner_text("#shown") == "Showing 1 of 1,000 examples."


def test_several_balls(opened, tmp_path):
    file = eb.page(write_series(tmp_path / "radii")).write().resolve()
    page = opened(file, "#open=radius-table")
    assert violations(page) == []
    page.click("text=Accuracy at 3 radii")
    assert page.evaluate("location.hash").endswith("at=radius")


def test_a_copied_link_shows_the_same(opened, file):
    page = opened(file)
    page.click("[data-verdict=broken]")
    page.click("[data-verdict=undecided]")
    page.fill("#q", "one")
    page.click("#grid thead button >> nth=0")
    page.click("#grid tbody .open >> nth=2")
    page.click("#risk-table summary")
    page.click("#theme")
    page.keyboard.press("c")
    page.wait_for_function("location.hash.includes('open=risk-table') && location.hash.includes('flip=')")
    again = opened(file, page.evaluate("location.hash"))
    seen = "document.querySelector('#examples').innerHTML + document.querySelector('#risk-table').open"
    again.wait_for_selector("#viewer canvas")
    assert again.evaluate(seen) == page.evaluate(seen)
    assert again.evaluate("document.documentElement.dataset.theme") == "light"
    assert again.evaluate("location.hash") == page.evaluate("location.hash")


def test_filter_search_and_sort(opened, file):
    page = opened(file)
    assert page.inner_text("#shown") == "Showing 120 of 120 examples."
    page.click("[data-verdict=broken]")
    assert page.inner_text("#shown") == "Showing 24 of 120 examples."
    page.fill("#q", "#11")
    assert page.inner_text("#shown") == "Showing 1 of 120 examples."
    page.click("#clear")
    for order in ("ascending", "descending"):
        page.click("#grid thead button >> nth=0")
        assert page.get_attribute("#grid thead th >> nth=0", "aria-sort") == order
    assert page.inner_text("#grid tbody .open >> nth=0") == "119"
    page.select_option("#label", "1")
    assert page.inner_text("#shown") == "Showing 60 of 120 examples."


def test_keys(opened, file):
    page = opened(file)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    assert page.inner_text("#shown") == "Showing 24 of 120 examples."
    for key, place in (("j", 0), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        here = page.get_attribute(f"#grid tbody tr[data-row] >> nth={place}", "aria-current")
        assert here == "true"
    page.wait_for_selector("#flip")
    for value in ("100", "0"):
        page.keyboard.press("c")
        assert page.input_value("#flip") == value
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_everything_is_reached_by_tab(opened, file):
    page = opened(file, "#ex=1")
    page.wait_for_selector("#flip")
    wanted = "a[href],button:not([tabindex='-1']),input,select,summary,[tabindex='0']"
    visible = f"[...document.querySelectorAll(`{wanted}`)].filter((e) => e.checkVisibility() && !e.closest('dialog'))"
    total = page.evaluate(f"(globalThis.wanted = {visible}).length")
    reached = set()
    for _ in range(total + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("globalThis.wanted.indexOf(document.activeElement)"))
    assert reached >= set(range(total))


def test_hostile_names_are_text(opened, tmp_path):
    folder = write_run(tmp_path / "run", ["broken"] * 40, labels=range(40), names=list(HOSTILE))
    page = opened(eb.page(folder).write().resolve(), "#sort=index&ex=0")
    page.set_viewport_size({"width": 1280, "height": 3000})
    page.evaluate("document.getElementById('view').style.height = '2500px'")
    page.wait_for_selector("#grid tbody tr[data-row]:nth-of-type(40)")
    script = "[...document.querySelectorAll('#grid tbody tr[data-row]')].map((row) => row.cells[2].textContent)"
    assert page.evaluate(script) == list(HOSTILE)
    assert page.evaluate("document.querySelectorAll('img, base, iframe, object').length") == 0


def test_two_runs_begin_with_the_newly_broken(opened, tmp_path):
    first = write_run(tmp_path / "first", ["certified"] * 30)
    second = write_run(tmp_path / "second", ["certified"] * 20 + ["broken"] * 10)
    page = opened(eb.page(first, second).write().resolve())
    assert "newly broken" in page.inner_text("#grid tbody tr[data-row] >> nth=0")
    page.click("text=Show the 10 newly broken examples")
    assert page.inner_text("#shown") == "Showing 10 of 30 examples."
    assert violations(page) == []


@pytest.mark.parametrize("verdicts", [[], ["invalid"] * 3])
def test_empty_pages(opened, tmp_path, verdicts):
    page = opened(eb.page(write_run(tmp_path / "run", verdicts)).write().resolve())
    assert violations(page) == []


def test_print(opened, file, tmp_path):
    page = opened(file)
    page.pdf(path=tmp_path / "page.pdf", format="A4", prefer_css_page_size=True)
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes())
    assert 1 <= len(pages) <= 4
    page.emulate_media(media="print")
    said = page.inner_text("main")
    assert "95%" in said
    assert re.search(r"\[\d+\.\d%, \d+\.\d%\]", said)
    assert "Run it again" in said
    assert not page.is_visible("#browse")
