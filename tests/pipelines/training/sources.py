"""Small sources of samples for tests: a recipe that keeps the bytes of files, and its decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.decoding import DecodingShare, SampleDecoder
from pixelmill.pipelines.training.measuring import SampleBytes
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from tests.pipelines.training.drawn import ACCESS


class Verbatim:
    """Keeps the bytes of every file as they are; refuses those that say so."""

    NAME = "verbatim"
    settings: Any = None

    def __init__(self, settings: object = None, assets: object = None) -> None:
        self.read: list[bytes] = []

    def decode(self, files: dict[str, bytes]) -> Sample:
        self.read.append(files["image"])
        if files["image"].startswith(b"broken"):
            raise DataError("is no picture")
        return {"bytes": np.frombuffer(files["image"], np.uint8)}


def put(folder: Path, *contents: bytes) -> DataSet:
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (folder / f"{number:03d}.png").write_bytes(content)
    return listed(folder)


def listed(folder: Path) -> DataSet:
    found = list(entries(Source((str(folder),), access=ACCESS), Ignored()))
    return DataSet({"image": table_of(found)}, ACCESS)


def some(folder: Path, count: int, *broken: int) -> DataSet:
    """Files that hold their number, of which some are broken."""
    return put(folder, *(b"broken %d" % n if n in broken else b"%d" % n for n in range(count)))


def decoder(data: DataSet, most: int = 1 << 20, recipe: Any = None) -> SampleDecoder:
    """A decoder of samples of so many bytes at most."""
    made: Any = recipe or Verbatim()
    return SampleDecoder(data, made, SampleBytes(float(most), most), BrokenSamples(data, 1.0), DecodingShare())


def numbers(samples: Any) -> list[int]:
    return [int(sample["bytes"].tobytes()) for sample in samples]
