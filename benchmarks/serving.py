"""Measure what `pixelmill serve` takes for a large run: from the command to a map that is drawn, and to a page of the grid.

    python -m benchmarks.serving --rows 1000000 --out FOLDER

Makes a run of so many rows with vectors of 16 numbers, projects it, serves it, and opens the map in a headless Chromium: bytes
that were sent to the browser, seconds from the first request to the first drawing, the time of each hover and of a page of the
grid, filtered and sorted, and the memory of the server. A run that is in FOLDER already is used again.

Legend: N rows of a part.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from playwright.sync_api import Browser, sync_playwright

from pixelmill.jobs import exploring
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder

PART_ROWS, DIMENSION, GROUPS = 10_000, 16, 40
PATIENCE_MS = 600_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out / "run"
    if not (out / "explore").exists():
        make_run(out, arguments.rows)
    with subprocess.Popen(
        [sys.executable, "-m", "pixelmill", "serve", str(out)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            measure(found[0], server.pid)
        finally:
            server.terminate()


def make_run(out: Path, rows: int) -> None:
    """Published by hand, as a worker would."""
    folder = Folder(str(out), Access())
    folder.publish("_run/spec.yaml", b"version: 1\nsource: nowhere\nout: here\nstages: [embed]\n")
    random = np.random.default_rng(0)
    centres_KD = random.normal(size=(GROUPS, DIMENSION)).astype(np.float32)
    vector = pa.list_(pa.float32(), DIMENSION)
    fields = [pa.field("group", pa.int32()), pa.field("score", pa.float32()), pa.field("embedding", vector)]
    schema = pa.schema([*INPUT_FIELDS, *fields, *(pa.field(name, pa.string()) for name in ERROR_COLUMNS)])
    for part, start in enumerate(range(0, rows, PART_ROWS)):
        numbers = range(start, min(start + PART_ROWS, rows))
        groups_N = random.integers(GROUPS, size=len(numbers)).astype(np.int32)
        vectors = centres_KD[groups_N] + 0.5 * random.normal(size=(len(numbers), DIMENSION)).astype(np.float32)
        given: dict[str, Any] = {
            "id": [f"{number:032x}" for number in numbers],
            "uri": [f"s3://photos/2026/{number:09d}.jpg" for number in numbers],
            "width": np.full(len(numbers), 640, np.int32),
            "group": groups_N,
            "score": random.random(len(numbers)).astype(np.float32),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION),
        }
        columns = [given[field.name] if field.name in given else pa.nulls(len(numbers), field.type) for field in schema]
        publish(
            folder,
            f"part-{part:06d}",
            pa.Table.from_arrays(list(map(pa.array, columns)), schema=schema),
            {},
            Compression(),
        )  # pyright: ignore
    exploring.answer(exploring.project(str(out), "map", None, "pca"), time.time, print)


def measure(address: str, pid: int) -> None:
    for path in ("api/runs/0", "api/runs/0/map"):
        start_s = time.perf_counter()
        with urllib.request.urlopen(f"{address}{path}") as answer:
            size = len(answer.read())
        print(f"first {path}: {time.perf_counter() - start_s:.2f} s, {size:,} bytes", flush=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for renderer in ("", "webgl"):
            measure_map(browser, address, renderer)
        browser.close()
    pages = {"in order": "", "sorted": "sort=score&falling=1", "in the middle": "sort=score&offset=500000"}
    pages["filtered"] = 'sort=uri&filters=[["score","at%20least",0.5],["uri","contains","99"]]'.replace('"', "%22")
    for name, asked in pages.items():
        start_s = time.perf_counter()
        with urllib.request.urlopen(f"{address}api/runs/0/rows?{asked}") as answer:
            total = json.load(answer)["total"]
        print(f"a page of the grid, {name}: {time.perf_counter() - start_s:.2f} s of {total:,} rows")
    print(f"memory of the server: {psutil.Process(pid).memory_info().rss / 1e6:,.0f} MB")


def measure_map(browser: Browser, address: str, renderer: str) -> None:
    """From the first request of the page on; hovering includes the answer of the server."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    sizes: dict[str, int] = {}
    page.on("response", lambda answer: sizes.update({answer.url: int(answer.headers.get("content-length", 0))}))
    page.goto(f"{address}#/0/map?renderer={renderer}")
    while not page.evaluate("document.body?.dataset.drawnMs"):
        page.wait_for_timeout(20)
    data: dict[str, str] = page.evaluate("({ ...document.body.dataset })")
    page.focus("canvas")
    times_ms: list[float] = page.evaluate(
        """async () => {
          const canvas = document.querySelector("canvas"), place = canvas.getBoundingClientRect(), took = [];
          for (let n = 0; n < 20; n++) {
            const began = performance.now();
            const at = { clientX: place.left + 100 + n * 40, clientY: place.top + 250, bubbles: true, pointerId: 1 };
            canvas.dispatchEvent(new PointerEvent("pointermove", at));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            took.push(performance.now() - began);
          }
          return took;
        }"""
    )
    total = sum(sizes.values())
    print(
        f"map of {int(data['points']):,} points by {data['renderer']}: drawn after {int(data['drawnMs']) / 1000:.2f} s, of which "
        f"{int(data['fetchedMs']) / 1000:.2f} s fetch the points; {total:,} bytes in all; a hover {np.median(times_ms):.0f} ms",
        flush=True,
    )
    page.close()


if __name__ == "__main__":
    main()
