"""Record a training: tables, the loss curve and sample pictures on any store, and trackers such as TensorBoard.

    OUT/log.csv               one row for each step that was logged and for each evaluation
    OUT/metrics.jsonl         the same as a JSON object in a line each; null stands for NaN and infinity
    OUT/curve.png             the loss over the steps, and the deciding metric
    OUT/samples/00001200.png  what the network made of a few held-out samples
    OUT/tensorboard/...       the same for TensorBoard, and what other trackers keep (trackers/)

The tables are published whole with each checkpoint, so that a resumed training continues where its curve ends.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence

from torch import Tensor

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.whole_files import MOST_TABLE_BYTES
from pixelmill.pipelines.training.curve import LogRow, drawn_curve
from pixelmill.pipelines.training.trackers import Tracker
from pixelmill.workers.codecs.encode import encode_png_tensor

LOG = "log.csv"
METRICS = "metrics.jsonl"
CURVE = "curve.png"


class TrainingLog:
    """The log of one training; `goal` is the deciding metric, which the curve shows beside the loss."""

    def __init__(self, folder: Folder, goal: str, *, resumed_at: int, trackers: Sequence[Tracker] = ()) -> None:
        self._folder, self._goal = folder, goal
        self.rows: list[LogRow] = [row for row in _read(folder) if int(row["step"]) <= resumed_at]
        self._trackers = trackers

    def add(self, step: int, kind: str, values: dict[str, float]) -> None:
        """`kind` is train or evaluation."""
        numbers = {name: float(value) for name, value in values.items()}
        self.rows.append({"step": str(step), "kind": kind, **{name: repr(value) for name, value in numbers.items()}})
        for tracker in self._trackers:
            tracker.scalars(step, {f"{kind}/{name}": value for name, value in numbers.items()})

    def show(self, step: int, picture_CHW: Tensor) -> None:
        """Publish a picture, uint8 CHW, of the network's results at this step."""
        picture_CHW = picture_CHW.cpu()
        self._folder.publish(f"samples/{step:08d}.png", encode_png_tensor(picture_CHW))
        pixels_HWC = picture_CHW.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
        for tracker in self._trackers:
            tracker.picture(step, pixels_HWC)

    def publish(self, with_curve: bool, rows: Sequence[LogRow] | None = None) -> None:
        """Make everything so far visible, or these rows where others are added meanwhile; drawing the curve takes a third of
        a second."""
        rows = list(self.rows) if rows is None else rows
        self._folder.publish(LOG, _to_csv(rows))
        self._folder.publish(METRICS, _to_json_lines(rows))
        if with_curve:
            self._folder.publish(CURVE, drawn_curve(rows, self._goal))
        for tracker in self._trackers:
            tracker.publish()

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()


def _read(folder: Folder) -> list[LogRow]:
    text = (folder.read(LOG, MOST_TABLE_BYTES) or b"").decode()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))]


def _to_csv(rows: Sequence[LogRow]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _to_json_lines(rows: Sequence[LogRow]) -> bytes:
    return "".join(
        f"{json.dumps({name: _json_value(name, text) for name, text in row.items()})}\n" for row in rows
    ).encode()


def _json_value(name: str, text: str) -> str | int | float | None:
    if name == "kind":
        return text
    if name == "step":
        return int(text)
    return value if math.isfinite(value := float(text)) else None
