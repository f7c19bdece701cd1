"""The page of many examples in headless Chromium: size, first paint, filter, sort and search, what axe-core finds.

python benchmarks/page.py [--examples 50000] [--run runs/page-50000] [--chromium /usr/bin/chromium] [--out page.json]

Needs the extra `test` (playwright, axe-playwright-python) and a Chromium.
"""

import argparse
import json
import statistics
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from playwright.sync_api import Browser, Page, sync_playwright
from safetensors import torch as safetensors

import epsball as eb
from epsball.auditing.folder import read_arrow
from epsball.files import write_atomically
from epsball.results import arrow_bytes

SHARD = 1000
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
TIMES = 20

ACTIONS = {
    "filter": """(k) => document.querySelectorAll("[data-verdict]")[[0, 3, 4][k % 3]].click()""",
    "sort": """(k) => document.querySelectorAll("#grid thead button")[k % 6].click()""",
    "search": """(k) => { const q = document.getElementById("q");
        q.value = ["cat", "1", "fgsm", "12", "truck", "interval", ""][k % 7]; q.dispatchEvent(new Event("input")); }""",
}
"""What a reader does, the k-th time."""


def timed(page: Page, action: str, k: int) -> float:
    """Return the milliseconds from an action to the frame that shows what it did."""
    script = f"""async (k) => {{
        const began = performance.now();
        ({action})(k);
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
        return performance.now() - began;
    }}"""
    return page.evaluate(script, k)


def make_run(folder: Path, examples: int) -> None:
    """Audit a random network on random images, and repeat the shard with other numbers until there are enough rows.

    The numbers mean nothing; columns, witnesses and their amount are those of a run of so many examples.
    """
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(3072, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
        x = torch.randint(0, 256, (SHARD, 3, 32, 32), generator=generator, dtype=torch.uint8)
        y = network(x.float() / 255).argmax(1)
    y[::9] = (y[::9] + 1) % 10
    options: dict[str, Any] = {"attack": "fgsm", "certificates": "interval", "limit": False, "folder": folder}
    eb.audit(eb.Classifier(network), (x, y), eb.Ball.parse("linf:1/4096"), **options)
    for number in range(1, -(-examples // SHARD)):
        repeat(folder, number, np.random.default_rng(number))
    (folder / "manifest.json").unlink()


def repeat(folder: Path, number: int, draw: np.random.Generator) -> None:
    """Write a shard like the first: other positions, its rows in another order, its margins by other factors."""
    for kind in ("evidence", "ledger"):
        table = read_arrow(folder / f"{kind}-00000.arrow")
        table = table.take(draw.permutation(len(table)))
        for place, field in enumerate(table.schema):
            values = table[field.name].to_numpy()
            if field.name == "index":
                table = table.set_column(place, field, pa.array(np.where(values < 0, values, values + SHARD * number)))
            elif field.type == pa.float64():
                table = table.set_column(place, field, pa.array(values * draw.uniform(0.5, 1.5, len(values))))
        write_atomically(folder / f"{kind}-{number:05d}.arrow", arrow_bytes(table))
    points = safetensors.load_file(folder / "witnesses-00000.safetensors")
    points["index"] = points["index"] + SHARD * number
    safetensors.save_file(points, folder / f"witnesses-{number:05d}.safetensors")


def opened(browser: Browser, file: Path, seen: list[str], **options: Any) -> Page:
    """Open the page and wait until its table is there; what the console says, and requests, are kept."""
    page = browser.new_context(**options).new_page()
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("request", lambda request: None if request.url == file.as_uri() else seen.append(f"request: {request.url}"))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    return page


def violations(page: Page) -> list[str]:
    """Return what axe-core finds."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{violation['id']}: {len(violation['nodes'])} nodes" for violation in found]


def measured(browser: Browser, file: Path) -> dict[str, Any]:
    """Return what was measured in the browser."""
    seen: list[str] = []
    result: dict[str, Any] = {}
    paints, ready = [], []
    for _ in range(5):
        page = opened(browser, file, seen)
        script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        paints.append(page.evaluate(script))
        ready.append(page.evaluate("globalThis.readyAt"))
        page.context.close()
    result["first paint, ms"], result["table, ms"] = statistics.median(paints), statistics.median(ready)
    page = opened(browser, file, seen)
    for name, action in ACTIONS.items():
        times = [timed(page, action, k) for k in range(TIMES)]
        result[f"{name}, ms (median of {TIMES})"] = round(statistics.median(times), 1)
        result[f"{name}, ms (most)"] = round(max(times), 1)
    page.context.close()
    for scheme in ("light", "dark"):
        for width in (1280, 320):
            page = opened(browser, file, seen, color_scheme=scheme, viewport={"width": width, "height": 800})
            result[f"axe-core, {scheme}, {width} px"] = violations(page)
            page.context.close()
    return result | {"console, errors, requests": seen}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    run = options.run or Path(f"runs/page-{options.examples}")
    if not (run / "chain.json").exists():
        make_run(run, options.examples)
    began = time.perf_counter()
    file = eb.page(run).write().resolve()
    result: dict[str, Any] = {"examples": options.examples, "rendering, s": round(time.perf_counter() - began, 2)}
    result["size, MB"] = round(file.stat().st_size / 1e6, 2)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=list(FLAGS))
        result |= measured(browser, file)
        browser.close()
    print(json.dumps(result, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
