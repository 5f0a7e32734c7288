"""The table, the picture and the figures of a finished curve of labels: here the test part is looked at, once.

Legend: R seeds, P patients, F numbers of one patient.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pixelmill.pipelines.ct.curve_documents import (
    CellResult,
    CurveReport,
    Earlier,
    Gain,
    Point,
    PrimaryResult,
)
from pixelmill.pipelines.ct.curve_plan import FROZEN, SCRATCH, SHUFFLED, CurvePlan
from pixelmill.workers.evaluation.mask_scores import auc_of
from pixelmill.workers.evaluation.paired_bootstrap import difference

COLUMNS: dict[str, tuple[str, ...]] = {
    "dice": ("dice",),
    "hd95_px": ("hd95_px",),
    "auc": ("probability", "label"),
    "accuracy": ("correct",),
}
"""The metrics of a curve, and the scores of a patient that each is made of."""
DODGE = 0.05
"""Between the arms of one number of labels in the picture, in distances of two numbers."""
LOWER_IS_BETTER: frozenset[str] = frozenset({"hd95_px"})


def metrics_of(head: str) -> list[str]:
    return ["dice", "hd95_px"] if head == "segment" else ["auc", "accuracy"]


def metric_of(name: str, numbers_PF: np.ndarray) -> float:
    """The metric of these patients."""
    if name == "auc":
        return auc_of(numbers_PF[:, 0], numbers_PF[:, 1] > 0.5)
    return float(numbers_PF[:, 0].mean())


def report_of(
    plan: CurvePlan,
    results: Sequence[CellResult],
    baselines: Mapping[str, Mapping[str, float]],
    rates: Mapping[str, float],
    earlier: Sequence[Earlier] = (),
) -> CurveReport:
    """Every point of the curve with its difference to scratch, and the primary comparison.

    The arm of the primary comparison is the one that is best on validation; intervals are corrected for the arms compared.
    """
    primary, head = plan.primary, str(plan.settings.get("head", "segment"))
    chosen = _best_on_validation(plan, results)
    points = [
        _point(plan, results, arm, labels, metric)
        for metric in metrics_of(head)
        for labels in plan.labels
        for arm in dict.fromkeys(result.arm for result in results if result.labels == labels)
    ]
    named = (point for point in points if (point.labels, point.metric) == (primary.labels, primary.metric))
    compared = next((point for point in named if point.arm == chosen), None)
    return CurveReport(
        primary=PrimaryResult(labels=primary.labels, metric=primary.metric, arm=chosen, result=compared),
        without_learning=baselines,
        points=points,
        arms=plan.arms,
        rates=rates,
        earlier_reports=tuple(earlier),
    )


def _best_on_validation(plan: CurvePlan, results: Sequence[CellResult]) -> str | None:
    """The pretrained arm that is best on validation where the primary comparison is made."""
    means: dict[str, float] = {}
    for arm in plan.encoders:
        those = [each for each in results if (each.arm, each.labels) == (arm, plan.primary.labels)]
        means[arm] = float(np.mean([each.validation.get(plan.primary.metric, np.nan) for each in those]))
    sign = -1 if plan.primary.metric in LOWER_IS_BETTER else 1
    return max(means, key=lambda arm: sign * means[arm], default=None)


def _point(plan: CurvePlan, results: Sequence[CellResult], arm: str, labels: int | None, metric: str) -> Point:
    own_RPF = _numbers(results, arm, labels, metric)
    values = [metric_of(metric, numbers_PF) for numbers_PF in own_RPF]
    compared = max(1, len(plan.encoders))

    def gain_over(other: str) -> Gain | None:
        if arm in {SCRATCH, other}:
            return None
        return _gain(own_RPF, _numbers(results, other, labels, metric), metric, compared=compared)

    return Point(
        arm=arm,
        labels=labels,
        metric=metric,
        mean=float(np.mean(values)),
        deviation=float(np.std(values)),
        seeds=len(values),
        gain=gain_over(SCRATCH),
        gain_over_control=gain_over(SHUFFLED),
    )


def _gain(own_RPF: np.ndarray, others_RPF: np.ndarray, metric: str, *, compared: int) -> Gain | None:
    """None where the other arm was not trained."""
    if not others_RPF.size:
        return None
    seeds = min(len(own_RPF), len(others_RPF))
    gain = difference(
        own_RPF[:seeds], others_RPF[:seeds], lambda numbers_PF: metric_of(metric, numbers_PF), compared=compared
    )
    return Gain(**asdict(gain), excludes_zero=gain.excludes_zero)


def _numbers(results: Sequence[CellResult], arm: str, labels: int | None, metric: str) -> np.ndarray:
    """RPF of one point, seeds and patients in order."""
    those = sorted((each for each in results if (each.arm, each.labels) == (arm, labels)), key=lambda each: each.seed)
    rows = [
        [[each.test[patient][column] for column in COLUMNS[metric]] for patient in sorted(each.test)] for each in those
    ]
    return np.array(rows)


def table_of(report: CurveReport) -> str:
    """The curve as Markdown."""
    primary = report.primary
    shown = None if primary.result is None else primary.result.gain
    lines = [
        f"Primary comparison, written down first: {primary.arm} against {SCRATCH} at n = {primary.labels or 'all'}, "
        f"{primary.metric}: {_interval(shown)}",
        *map(_earlier, report.earlier_reports),
        "",
        "| metric | n | arm | mean | deviation over seeds | seeds | against scratch | against shuffled |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {point.metric} | {point.labels or 'all'} | {point.arm} | {point.mean:.4f} | {point.deviation:.4f} | "
        f"{point.seeds} | {_interval(point.gain)} | {_interval(point.gain_over_control)} |"
        for point in report.points
    ]
    lines += [f"\n{name}: {_figures(figures)}" for name, figures in report.without_learning.items()]
    return "\n".join(lines) + "\n"


def _earlier(report: Earlier) -> str:
    """That the test part was looked at before."""
    labels = ", ".join(str(n or "all") for n in report.labels)
    return f"The test part was looked at before, with n {labels} and {report.few_seeds} or {report.seeds} seeds."


def _interval(gain: Gain | None) -> str:
    return "-" if gain is None else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def drawn(report: CurveReport) -> bytes:
    """The primary metric by the number of labels, a line for each arm, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metric = report.primary.metric
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
    points = [point for point in report.points if point.metric == metric]
    ticks = list(dict.fromkeys(str(point.labels or "all") for point in points))
    arms = list(dict.fromkeys(point.arm for point in points))
    for number, arm in enumerate(arms):
        aside = DODGE * (number - (len(arms) - 1) / 2)  # so that no bar hides another
        own = [point for point in points if point.arm == arm]
        places = [ticks.index(str(point.labels or "all")) + aside for point in own]
        style = ":" if arm == SHUFFLED or arm.endswith(FROZEN) else "-"
        means, spreads = [point.mean for point in own], [point.deviation for point in own]
        axes.errorbar(places, means, spreads, label=arm, linestyle=style, marker="o", markersize=3, capsize=2)
    for name, figures in report.without_learning.items():
        if metric in figures:
            axes.axhline(figures[metric], color="grey", linewidth=0.8, label=name)
    axes.set(xlabel="labelled patients", ylabel=f"test: {metric}", xticks=range(len(ticks)), xticklabels=ticks)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(picture)
    return picture.getvalue()
