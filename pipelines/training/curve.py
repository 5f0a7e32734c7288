"""Draw the loss of a training over its steps, and its deciding metric."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

LogRow = dict[str, str]
"""A row of the CSV log: step, kind (train or evaluation), and losses or metrics by name."""


def drawn_curve(rows: Sequence[LogRow], goal: str) -> bytes:
    """The loss by step, and `goal` by step where it was evaluated, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
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
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(picture)
    return picture.getvalue()
