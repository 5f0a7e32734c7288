"""`pixelmill quantize`: a network as an int8 file in ONNX, calibrated on some pictures and compared with float32 on others.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from pixelmill.jobs import checks, extras
from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.spread_pictures import spread_pictures
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, JobError, RowError
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.onnx_card import MEANINGS, OnnxCard, Quantized
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.prediction.quantization import (
    FloatNetwork,
    agreement_of,
    agreements_by_openvino,
    digest_of,
    quantized_file,
)
from pixelmill.workers.wording import counted

LEAST_PICTURES = 16
"""Half of them give the ranges of activations, and half are compared."""


@dataclass(frozen=True)
class Asked:
    """A model of a task, the pictures that it is calibrated on and compared on, and the file to be written."""

    model: str
    pictures: str
    out: str
    task: str = "embed"
    count: int = 256


@dataclass(frozen=True)
class Found:
    """Pictures as the network sees them: those that give the ranges, and others. `broken` could not be read or decoded."""

    calibration: list[Tensor]
    others: list[Tensor]
    broken: int


def quantize(asked: Asked, say: Callable[[str], None]) -> None:
    """Write OUT.onnx and OUT.json, and say what was done. Raises PixelmillError before anything is written."""
    place = _checked(asked)
    extras.require("quantize", "quantize")
    task = cast("Task", asked.task)
    network = FloatNetwork.loaded(resolve(asked.model, task), asked.model, task)
    found = _read(asked, network)
    say(_described(asked, found))
    data = quantized_file(network, found.calibration)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.stem}-", dir=place.parent) as folder:
        written = Path(folder) / place.name
        _write(written, data, network.card)
        card = network.card.model_copy(update={"quantized": _facts(network, found, written)})
        _write(written, data, card)
        by_openvino = agreements_by_openvino(network, found.others, written)
        _publish(written, place)
    assert card.quantized is not None
    say(card.quantized.described())
    for line in by_openvino:
        say(line)
    say(f"{asked.out}: {len(data) / 1e6:.1f} MB, of {network.bytes / 1e6:.1f} MB in float32; its card is beside it")


def _described(asked: Asked, found: Found) -> str:
    broken = f"; {found.broken:,} can't be decoded and are left out" if found.broken else ""
    return (
        f"calibrating on {counted(len(found.calibration), 'picture')} of {scrub(asked.pictures)}, comparing on the "
        f"{len(found.others):,} between them{broken}"
    )


def _checked(asked: Asked) -> Path:
    """Where the network is to lie. Raises JobError for what can be seen before anything is loaded."""
    place = Path(asked.out)
    if place.suffix != ".onnx":
        raise JobError(f"{asked.out}: does not end with .onnx; write OUT.onnx")
    if asked.task not in MEANINGS:
        raise JobError(f"task {asked.task}: there are {', '.join(MEANINGS)}")
    refuse_credentials(asked.model, asked.pictures)
    checks.check_file(asked.out)
    _refuse_existing(place)
    return place


def _refuse_existing(place: Path) -> None:
    for each in (place, place.with_suffix(".json")):
        if each.exists() or each.is_symlink():
            raise _exists(each)


def _exists(place: Path) -> JobError:
    return JobError(f"{place}: exists, and nothing is overwritten; remove it, or choose another name")


def _publish(written: Path, place: Path) -> None:
    """Give both files their names: of several that write under one name, the first card has it. The network comes last, as
    without it there is nothing."""
    made = list[Path]()
    for each in (written.with_suffix(".json"), written):
        target = place.with_suffix(each.suffix)
        try:
            os.link(each, target)
        except FileExistsError:
            for mine in made:
                mine.unlink()
            raise _exists(target) from None
        except OSError:  # exFAT and some network file systems have no hard links
            if os.path.lexists(target):
                raise _exists(target) from None
            each.replace(target)
        made.append(target)


def _read(asked: Asked, network: FloatNetwork) -> Found:
    """Twice as many pictures as asked for, or all, from all over the source; every other one is for calibration."""
    uri = absolute(asked.pictures)
    source = Source((uri,), access=Access())
    broken, seen = 0, list[Tensor]()
    with explained(uri, "reading the pictures"):
        for picture in spread_pictures(source, 2 * asked.count):
            if isinstance(picture, RowError):
                broken += 1
                continue
            seen.append(network.seen(picture))
    if len(seen) < LEAST_PICTURES:
        raise DataError(
            f"{scrub(asked.pictures)}: has {counted(len(seen), 'picture')} that can be decoded, and "
            f"{LEAST_PICTURES} are needed: half to calibrate, half to compare; give more"
        )
    return Found(seen[1::2], seen[::2], broken)


def _facts(network: FloatNetwork, found: Found, written: Path) -> Quantized:
    return Quantized(
        numbers="int8",
        source=network.source,
        source_sha256=network.weights_sha256,
        calibration_pictures=len(found.calibration),
        calibration_sha256=digest_of(found.calibration),
        agreement=agreement_of(network, found.others, written),
    )


def _write(place: Path, data: bytes, card: OnnxCard) -> None:
    place.write_bytes(data)
    text = card.model_dump_json(indent=1, exclude_none=True, exclude_defaults=True)
    place.with_suffix(".json").write_text(f"{text}\n", encoding="utf-8")
