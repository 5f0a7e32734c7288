"""Record a training: a CSV, TensorBoard events, the loss curve and sample pictures, on any store.

    OUT/log.csv               one row for each step that was logged and for each evaluation
    OUT/curve.png             the loss over the steps, and the deciding metric
    OUT/samples/00001200.png  what the network made of a few held-out samples
    OUT/tensorboard/...       the same for TensorBoard

The CSV is published whole with each checkpoint, so that a resumed training continues where its curve ends.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.curve import LogRow, drawn_curve
from pixelmill.workers.codecs.encode import encode_png_tensor

LOG = "log.csv"
CURVE = "curve.png"


class Events(Protocol):
    """The part of TensorBoard's writer that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class TrainingLog:
    """The log of one training; `goal` is the deciding metric, which the curve shows beside the loss."""

    def __init__(self, folder: Folder, goal: str, *, resumed_at: int) -> None:
        self._folder, self._goal = folder, goal
        self.rows: list[LogRow] = [row for row in _read(folder) if int(row["step"]) <= resumed_at]
        self._events = tempfile.TemporaryDirectory(prefix="pixelmill-events-")
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingTypeStubs]

        self._writer: Events = SummaryWriter(self._events.name, purge_step=resumed_at + 1, write_to_disk=True)
        self._published: dict[str, int] = {}
        self._name = f"tensorboard/from-{resumed_at:08d}"

    def add(self, step: int, kind: str, values: dict[str, float]) -> None:
        """`kind` is train or evaluation."""
        self.rows.append(
            {"step": str(step), "kind": kind, **{name: repr(float(value)) for name, value in values.items()}}
        )
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def show(self, step: int, picture_CHW: Tensor) -> None:
        """Publish a picture, uint8 CHW, of the network's results at this step."""
        picture_CHW = picture_CHW.cpu()
        self._folder.publish(f"samples/{step:08d}.png", encode_png_tensor(picture_CHW))
        self._writer.add_image("samples", picture_CHW.numpy(), step)

    def publish(self, with_curve: bool, rows: Sequence[LogRow] | None = None) -> None:
        """Make everything so far visible, or these rows where others are added meanwhile; drawing the curve takes a third of
        a second."""
        rows = list(self.rows) if rows is None else rows
        self._folder.publish(LOG, _to_csv(rows))
        if with_curve:
            self._folder.publish(CURVE, drawn_curve(rows, self._goal))
        self._writer.flush()
        for file in Path(self._events.name).iterdir():
            if self._published.get(file.name) != file.stat().st_size:
                self._folder.publish(f"{self._name}/{file.name}", file.read_bytes())
                self._published[file.name] = file.stat().st_size

    def close(self) -> None:
        self._writer.close()
        self._events.cleanup()


def _read(folder: Folder) -> list[LogRow]:
    text = (folder.read(LOG) or b"").decode()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))]


def _to_csv(rows: Sequence[LogRow]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
