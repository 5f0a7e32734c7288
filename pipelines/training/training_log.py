"""Write down how a training goes: a CSV, TensorBoard events, the loss curve and sample pictures, on any store.

    OUT/log.csv               one row for each step that was logged and for each evaluation
    OUT/curve.png             the loss over the steps, and the metric that decides
    OUT/samples/00001200.png  what the network made of a few held-out samples
    OUT/tensorboard/...       the same for TensorBoard

The CSV is published whole with each checkpoint, so that a training that is resumed goes on where its curve ends.
"""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.encode import encode_png_tensor

LOG = "log.csv"
CURVE = "curve.png"


class TrainingLog:
    """The log of one training; `goal` is the metric that decides, which the curve shows beside the loss."""

    def __init__(self, folder: Folder, goal: str, *, resumed_at: int) -> None:
        self._folder, self._goal = folder, goal
        self.rows = [row for row in _read(folder) if int(row["step"]) <= resumed_at]
        self._events = tempfile.TemporaryDirectory(prefix="pixelmill-events-")
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(self._events.name, purge_step=resumed_at + 1, write_to_disk=True)
        self._published: dict[str, int] = {}
        self._name = f"tensorboard/from-{resumed_at:08d}"

    def add(self, step: int, kind: str, values: dict[str, float]) -> None:
        """`kind` is train or evaluation."""
        self.rows.append({"step": step, "kind": kind, **{name: repr(float(value)) for name, value in values.items()}})
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def show(self, step: int, picture_CHW: Tensor) -> None:
        """Publish a picture, uint8 CHW, of what the network makes at this step."""
        picture_CHW = picture_CHW.cpu()
        self._folder.publish(f"samples/{step:08d}.png", encode_png_tensor(picture_CHW))
        self._writer.add_image("samples", picture_CHW.numpy(), step)

    def publish(self, with_curve: bool) -> None:
        """Make everything so far visible; drawing the curve takes a third of a second."""
        self._folder.publish(LOG, _to_csv(self.rows))
        if with_curve:
            self._folder.publish(CURVE, curve(self.rows, self._goal))
        self._writer.flush()
        for file in Path(self._events.name).iterdir():
            if self._published.get(file.name) != file.stat().st_size:
                self._folder.publish(f"{self._name}/{file.name}", file.read_bytes())
                self._published[file.name] = file.stat().st_size

    def close(self) -> None:
        self._writer.close()
        self._events.cleanup()


def _read(folder: Folder) -> list[dict[str, Any]]:
    text = (folder.read(LOG) or b"").decode()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))]


def _to_csv(rows: list[dict[str, Any]]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def curve(rows: list[dict[str, Any]], goal: str) -> bytes:
    """The loss by step, and `goal` by step where it was evaluated, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    train = [(int(row["step"]), float(row["loss"])) for row in rows if row["kind"] == "train" and "loss" in row]
    judged = [(int(row["step"]), float(row[goal])) for row in rows if row["kind"] == "evaluation" and goal in row]
    if train:
        axes.plot(*zip(*train, strict=True), color="C0", linewidth=0.8)
    axes.set(xlabel="step", ylabel="training loss")
    if train and min(loss for _, loss in train) > 0:
        axes.set_yscale("log")
    if judged:
        beside = axes.twinx()
        beside.plot(*zip(*judged, strict=True), color="C1", marker="o", markersize=3)
        beside.set_ylabel(f"held out: {goal}", color="C1")
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    return picture.getvalue()
