"""How much memory a worker takes at its peak over generated photographs: `python -m tests.peak_memory FOLDER OUT THREADS`.

The process lists, mills, publishes and accounts as a run does, without Ray. Its stage is light and does all that costs memory: it
keeps whole pictures until batches of one size are full, makes a picture of each for another stage, and a column of JPEGs.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.stages import Deferred, Milled, StageConfig, StageContext
from pixelmill.workers.stages.picture_column import EncodedPicture, picture_field, picture_value
from tests import in_process_run
from tests.toys.threshold import ThresholdConfig

if TYPE_CHECKING:
    from torch import Tensor

LEAST_PX, MOST_PX = 64 * 64, 24_000_000
DIFFERENT = 50
"""Pictures that are generated; the others are the same files under other names."""
MEMORY_BYTES = 3 << 30


class HalveConfig(StageConfig):
    """Half as high and wide, by leaving out."""

    stage: ClassVar[str] = "halve"
    makes: ClassVar[Kind | None] = "rgb8"

    def columns(self) -> tuple[str, ...]:
        return ("half",)

    def row_bytes(self, picture_px: int) -> int:
        return self.made_px(picture_px) // 4

    def made_px(self, picture_px: int) -> int:
        return picture_px // 4

    def build(self, context: StageContext) -> Halve:
        return Halve()


class Halve:
    weights_sha256 = None
    batch = 16
    batch_pixels = 1 << 22
    settings: ClassVar[dict[str, object]] = {}
    fields = (picture_field("half"),)

    def prepare(self, picture: Picture) -> Tensor:
        return picture.pixels

    def bucket_of(self, sample: Tensor) -> Hashable:
        return tuple(sample.shape)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import torch

        halves_BCHW = torch.stack([sample_CHW[:, ::2, ::2] for sample_CHW in samples])
        jobs = [partial(self.encoded, half_CHW) for half_CHW in halves_BCHW]
        return Milled({"half": Deferred(jobs, list(halves_BCHW))}, {}, [Picture(half_CHW) for half_CHW in halves_BCHW])

    def encoded(self, picture_CHW: Tensor) -> EncodedPicture:
        from pixelmill.workers.codecs.encode import encode_jpeg

        return picture_value(encode_jpeg(picture_CHW))


def write_photos(folder: Path, count: int, most_px: int = MOST_PX) -> None:
    """JPEGs whose sizes are log-uniform from 64 x 64 to `most_px`, in random order; any number of them has the largest."""
    folder.mkdir(parents=True)
    sizes = np.geomspace(LEAST_PX, most_px, DIFFERENT)
    generator = np.random.default_rng(0)
    for number, px in enumerate(sizes):
        width = int((px * 4 / 3) ** 0.5)
        _write_photo(folder / f"photo-{number:05d}.jpg", width, int(px) // width, generator)
    order = generator.permutation(count)
    for number in range(count):
        os.link(folder / f"photo-{number % DIFFERENT:05d}.jpg", folder / f"{order[number]:06d}.jpg")
    for number in range(DIFFERENT):
        (folder / f"photo-{number:05d}.jpg").unlink()


def _write_photo(path: Path, width: int, height: int, generator: np.random.Generator) -> None:
    coarse = generator.integers(0, 256, (24, 32, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain_HWC = generator.integers(0, 24, (height, width, 3), np.uint8)  # a photograph has some
    file = io.BytesIO()
    Image.fromarray(np.asarray(smooth) // 2 + grain_HWC).save(file, "JPEG", quality=85)
    path.write_bytes(file.getvalue())


def peak_bytes(photos: Path, out: Path, threads: int) -> int:
    """Of a process of its own that mills a folder, with so many threads that decode and encode beside the stages."""
    command = [sys.executable, "-m", "tests.peak_memory", str(photos), str(out), str(threads)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed.splitlines()[-1])


def main() -> None:
    keep_freed_memory()
    photos, out, threads = sys.argv[1:]
    access = Access(retry_for_s=0.0)
    stages = (HalveConfig(), ThresholdConfig.model_validate({"from": "halve"}))
    job = in_process_run.Job(
        Source((photos,), access=access),
        Folder(out, access),
        stages,
        file_bytes=128 << 20,
        row_bytes=None,
        max_pixels=2 * MOST_PX,
        decode_threads=int(threads),
        memory_bytes=MEMORY_BYTES,
    )
    account = in_process_run.live(job)
    assert account.is_exact
    assert account.failed == 0
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}\n")


if __name__ == "__main__":
    main()
