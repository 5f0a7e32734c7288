"""The demo: embed an archive of crops of scikit-image's photographs, with broken files among them, and show the
result."""

from __future__ import annotations

import random
from pathlib import Path
from shlex import quote

import numpy as np
from PIL import Image, ImageDraw

from pixelmill.jobs import extras
from pixelmill.jobs import inspect as inspection
from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.job import check_document
from pixelmill.jobs.reporting.content import Wanted, content_of
from pixelmill.jobs.reporting.page import page_of
from pixelmill.jobs.run import run_job
from pixelmill.jobs.summary import summary_of
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.pipelines.explore import Vectors, read_vectors

PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "cell", "coffee", "coins", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "retina", "rocket",
)  # fmt: skip
CROPS_EACH = 20
NEIGHBOURS = 5


def run(folder: Path, around: Surroundings) -> int:
    """Make the archive, run the job over it, show the result; returns the exit code of a job that succeeded."""
    extras.require("demo", "demo")
    archive, out = folder / "archive", folder / "embeddings"
    whole, broken = make_archive(archive)
    console = PrintableConsole(highlight=False)
    console.print(
        f"archive: {whole} JPEGs cut from {len(PHOTOGRAPHS)} photographs and {broken} broken files in {archive}"
    )
    document: Document = {"version": 1, "source": str(archive), "out": str(out), "stages": ["embed"]}
    job = check_document(document, name="demo", environment={})
    outcome = run_job(job, around)
    console.print(summary_of(outcome, str(out)), markup=False, soft_wrap=True)
    console.print("\nwhat failed, and why:")
    for reason in inspection.report(inspection.open_run(str(out)), rows=0)["failures"]:
        console.print(f"  {reason['error_type']}: {reason['example']}", markup=False, soft_wrap=True)
    sheet = folder / "neighbours.png"
    _show_neighbours(console, read_vectors(job.open_out()), sheet)
    console.print(f"\nthe same as a picture: {sheet}", markup=False, soft_wrap=True)
    page = folder / "report.html"
    page.write_text(page_of(content_of(str(out), Wanted(), around.environment, lambda _: None)), encoding="utf-8")
    console.print(f"all of it on one page, for your browser: {page}", markup=False, soft_wrap=True)
    console.print(f"in a browser, row by row: pixelmill serve {quote(str(out))}", markup=False, soft_wrap=True)
    console.print(
        f"the rows: python -c \"import pyarrow.parquet as pq; print(pq.read_table('{out}/data'))\"",
        markup=False,
        soft_wrap=True,
    )
    return 0 if outcome.account.is_exact else 1


def make_archive(folder: Path) -> tuple[int, int]:
    """Seeded crops of every photograph, and one file for each common kind of broken file."""
    from skimage import data

    random.seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        photograph = Image.fromarray(
            np.asarray(getattr(data, name)())[..., :3] if name not in GREY else getattr(data, name)()
        )
        (folder / name).mkdir(exist_ok=True)
        for number in range(CROPS_EACH):
            _crop(photograph.convert("RGB")).save(folder / name / f"{number:02d}.jpg", quality=88)
    return len(PHOTOGRAPHS) * CROPS_EACH, _break_some(folder)


GREY = frozenset({"brick", "camera", "cell", "coins", "grass", "gravel", "moon", "page"})


def _crop(photograph: Image.Image) -> Image.Image:
    """A square of 55 to 85 % of the shorter side, mirrored half of the time."""
    side = int(min(photograph.size) * random.uniform(0.55, 0.85))
    left = random.randint(0, photograph.width - side)
    top = random.randint(0, photograph.height - side)
    crop = photograph.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.LANCZOS)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


def _break_some(folder: Path) -> int:
    good = (folder / "coffee" / "00.jpg").read_bytes()
    bad = {
        "empty.jpg": b"",
        "half.jpg": good[: len(good) // 2],
        "header-only.jpg": good[:20],
        "error-page.jpg": b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>",
        "notes.png": b"taken on a rainy day\n",
        "bomb.png": _bomb(),
    }
    (folder / "broken").mkdir(exist_ok=True)
    for name, data in bad.items():
        (folder / "broken" / name).write_bytes(data)
    return len(bad)


def _bomb() -> bytes:
    """A PNG of a few dozen bytes whose header states 50,000 x 50,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _show_neighbours(console: PrintableConsole, vectors: Vectors, sheet: Path) -> None:
    queries = [_row(vectors, name) for name in ("coffee/03.jpg", "cat/05.jpg", "rocket/08.jpg")]
    found = vectors.nearest(queries, NEIGHBOURS)
    console.print("\nnearest neighbours by cosine:")
    for query, neighbours in zip(queries, found, strict=True):
        near = ", ".join(f"{_short(vectors.uris[row])} ({cosine:.2f})" for row, cosine in neighbours)
        console.print(f"  {_short(vectors.uris[query])}: {near}", soft_wrap=True)
    _contact_sheet(vectors, queries, found).save(sheet)


def _row(vectors: Vectors, ending: str) -> int:
    return next(row for row, uri in enumerate(vectors.uris) if uri.endswith(ending))


def _short(uri: str) -> str:
    return "/".join(uri.split("/")[-2:])


def _contact_sheet(vectors: Vectors, queries: list[int], found: list[list[tuple[int, float]]]) -> Image.Image:
    """One row per query: the query, a gap, its neighbours with their names and cosines."""
    tile, gap, label = 160, 24, 18
    sheet = Image.new("RGB", ((NEIGHBOURS + 1) * tile + gap, len(queries) * (tile + label)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (query, neighbours) in enumerate(zip(queries, found, strict=True)):
        top = line * (tile + label)
        for column, (row, cosine) in enumerate([(query, 1.0), *neighbours]):
            left = column * tile + (gap if column else 0)
            with Image.open(vectors.uris[row]) as picture:
                sheet.paste(picture.convert("RGB").resize((tile - 4, tile - 4)), (left + 2, top + 2))
            text = _short(vectors.uris[row]) + (f"  {cosine:.2f}" if column else "  (query)")
            draw.text((left + 4, top + tile), text, fill="black")
    return sheet
