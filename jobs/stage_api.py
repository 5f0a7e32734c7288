"""A function for each kind of stage, as the commands have them: `pixelmill.segment("photos/", "out/")` and its like.

All resume: called again they do what is left, or what is new in the source. Inputs that fail are no error, see `failed()` of
the result. What every one of them takes beside its own keys:

source     a folder, a glob, a .tar, a .parquet or a list of URIs, local or in a store, or several
out        the output folder, local or in a store
overrides  keys of the job file by their paths: {"run.actors": 2, "stages.0.batch": 16}
quiet      without the display of progress
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pixelmill.jobs.api import Overrides, Place, run_mapping
from pixelmill.jobs.ct.source import with_decoder
from pixelmill.jobs.opened_run import OpenedRun

Sources = Place | Iterable[Place]


def embed(
    source: Sources, out: Place, *, model: Place | None = None, overrides: Overrides | None = None, quiet: bool = False
) -> OpenedRun:
    """A vector for each picture. `model` is torchvision:NAME, timm:NAME, hf:NAME, FILE.safetensors or one that ships."""
    return _one_stage("embed", {"model": model}, source, out, overrides, quiet=quiet)


def segment(
    source: Sources, out: Place, *, model: Place | None = None, overrides: Overrides | None = None, quiet: bool = False
) -> OpenedRun:
    """A mask of class ids for each picture, and each class's share of it."""
    return _one_stage("segment", {"model": model}, source, out, overrides, quiet=quiet)


def depth(
    source: Sources, out: Place, *, model: Place | None = None, overrides: Overrides | None = None, quiet: bool = False
) -> OpenedRun:
    """A 16-bit map of disparity or depth for each picture."""
    return _one_stage("depth", {"model": model}, source, out, overrides, quiet=quiet)


def upscale(
    source: Sources,
    out: Place,
    *,
    scale: int | None = None,
    model: Place | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> OpenedRun:
    """Every picture `scale` times as high and wide."""
    return _one_stage("upscale", {"scale": scale, "model": model}, source, out, overrides, quiet=quiet)


def stylize(
    source: Sources,
    out: Place,
    *,
    style: Place | None = None,
    vgg: Place | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> OpenedRun:
    """Every picture in a style: the name of a network, a checkpoint, or with `vgg` any painting."""
    return _one_stage("stylize", {"style": style, "vgg": vgg}, source, out, overrides, quiet=quiet)


def synthesize(
    source: Sources,
    out: Place,
    *,
    model: Place | None = None,
    palette: Mapping[str, object] | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> OpenedRun:
    """A photograph for each layout, drawn in the colours of `palette` or of the model's own."""
    return _one_stage("synthesize", {"model": model, "palette": palette}, source, out, overrides, quiet=quiet)


def reconstruct(
    source: Sources, out: Place, *, model: Place | None = None, overrides: Overrides | None = None, quiet: bool = False
) -> OpenedRun:
    """What an autoencoder keeps of each picture, and how far off that is."""
    return _one_stage("reconstruct", {"model": model}, source, out, overrides, quiet=quiet)


def encode(
    source: Sources, out: Place, *, model: Place | None = None, overrides: Overrides | None = None, quiet: bool = False
) -> OpenedRun:
    """The latent code of each picture."""
    return _one_stage("encode", {"model": model}, source, out, overrides, quiet=quiet)


def classify(
    source: Sources,
    out: Place,
    *,
    model: Place,
    top: int | None = None,
    overrides: Overrides | None = None,
    quiet: bool = False,
) -> OpenedRun:
    """The best classes of each picture with their scores; `model` has to be given."""
    return _one_stage("classify", {"model": model, "top": top}, source, out, overrides, quiet=quiet)


def fingerprint(source: Sources, out: Place, *, overrides: Overrides | None = None, quiet: bool = False) -> OpenedRun:
    """Hashes, brightness, sharpness and a thumbnail of each picture; `.duplicates()` of the result finds copies."""
    return _one_stage("fingerprint", {}, source, out, overrides, quiet=quiet)


def _one_stage(
    kind: str,
    keys: Mapping[str, object],
    source: Sources,
    out: Place,
    overrides: Overrides | None,
    *,
    quiet: bool,
) -> OpenedRun:
    places = with_decoder(os.fspath(source), kind) if isinstance(source, str | os.PathLike) else list(source)
    given = {name: value for name, value in keys.items() if value is not None}
    job = {"version": 1, "source": places, "out": out, "stages": [{kind: given}]}
    return run_mapping(job, kind, overrides, quiet=quiet)
