"""The curve of a training: its loss by step, on a logarithmic axis where it can be, and the metric beside it."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pixelmill.pipelines.training.curve import LogRow, drawn_curve


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    made: list[Figure] = []
    original = Figure.__init__

    def keep(self: Figure, *args: Any, **options: Any) -> None:
        made.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(Figure, "__init__", keep)
    return made


def rows_of(*losses: float) -> list[LogRow]:
    return [{"step": str(10 * n), "kind": "train", "loss": str(loss)} for n, loss in enumerate(losses)]


def points(axes: Axes) -> list[list[float]]:
    return [[float(value) for value in row] for line in axes.get_lines() for row in line.get_xydata()]  # type: ignore[union-attr]


def test_the_loss_is_drawn_by_step_and_the_metric_on_an_axis_of_its_own(figures: list[Figure]) -> None:
    judged = [{"step": "10", "kind": "evaluation", "mse": "0.5"}, {"step": "20", "kind": "evaluation", "psnr": "9"}]
    png = drawn_curve([*rows_of(4.0, 2.0, 1.0), *judged], "mse")
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (880, 495))
    loss, metric = figures[0].axes
    assert points(loss) == [[0, 4], [10, 2], [20, 1]]
    assert points(metric) == [[10, 0.5]]
    assert metric.get_ylabel() == "held out: mse"


@pytest.mark.parametrize(
    ("losses", "scale"), [((2.0, 1.0), "log"), ((1.0, 0.0), "linear"), ((1.0, -1.0), "linear"), ((), "linear")]
)
def test_the_axis_is_logarithmic_only_where_every_loss_has_a_logarithm(
    figures: list[Figure], losses: tuple[float, ...], scale: str
) -> None:
    drawn_curve(rows_of(*losses), "mse")
    (axes,) = figures[0].axes
    assert axes.get_yscale() == scale


def test_a_log_without_what_is_asked_for_is_drawn_empty(figures: list[Figure]) -> None:
    assert drawn_curve([{"step": "1", "kind": "evaluation", "psnr": str(math.pi)}], "mse").startswith(b"\x89PNG")
    assert [points(axes) for axes in figures[0].axes] == [[]]
