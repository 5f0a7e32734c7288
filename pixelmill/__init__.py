"""Mill an archive of images in object storage into Parquet: embeddings, masks, depth, new pictures, exactly once.

    import pixelmill

    run = pixelmill.embed("photos/", "out/", model="torchvision:resnet50")
    run.table(["uri", "embedding"]), run.failed(), run.neighbors("photos/cat.jpg")

    pixelmill.segment("photos/", "masks/").pictures()        # id, uri, PIL image of each row
    pixelmill.load("segnet-camvid")("photos/street.jpg").ids

A function for each kind of stage, `run` and `train` do what the commands of these names do; `open_run` looks at what was made,
`load` gives a network that is called with one picture. Importing this package imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelmill.jobs.api import open_run, run, train
    from pixelmill.jobs.loaded import load
    from pixelmill.jobs.opened_run import OpenedRun
    from pixelmill.jobs.stage_api import (
        classify,
        depth,
        embed,
        encode,
        fingerprint,
        reconstruct,
        segment,
        stylize,
        synthesize,
        upscale,
    )
    from pixelmill.workers.errors import PixelmillError

__all__ = [
    "OpenedRun",
    "PixelmillError",
    "classify",
    "depth",
    "embed",
    "encode",
    "fingerprint",
    "load",
    "open_run",
    "reconstruct",
    "run",
    "segment",
    "stylize",
    "synthesize",
    "train",
    "upscale",
]

_PLACES = {
    "OpenedRun": "pixelmill.jobs.opened_run",
    "PixelmillError": "pixelmill.workers.errors",
    "load": "pixelmill.jobs.loaded",
    "open_run": "pixelmill.jobs.api",
    "run": "pixelmill.jobs.api",
    "train": "pixelmill.jobs.api",
}

_HERE = Path(__file__).resolve().parent
if not (_HERE / "workers").is_dir():
    # A checkout: the three floors are folders beside this one. In a wheel they are below it.
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> object:
    """Import what is asked for, so that the command and Ray's workers don't pay for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES.get(name, "pixelmill.jobs.stage_api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
