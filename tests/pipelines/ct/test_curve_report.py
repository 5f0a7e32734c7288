"""The report of a curve."""

from __future__ import annotations

from pixelmill.pipelines.ct.curve_documents import CellResult, Point
from pixelmill.pipelines.ct.curve_plan import CurvePlan, Primary
from pixelmill.pipelines.ct.curve_report import drawn, report_of, table_of

PLAN = CurvePlan({"masked": "a", "plain": "b"}, [4], Primary(4, "dice"))


def result(arm: str, seed: int, validation: float, test: float) -> CellResult:
    patients = {f"p{n}": {"dice": test + 0.01 * n, "hd95_px": 2.0} for n in range(4)}
    validated = {"dice": validation}
    return CellResult(arm=arm, labels=4, seed=seed, rate=0.1, slices=8, validation=validated, test=patients)


def test_the_arm_of_the_primary_comparison_is_chosen_on_validation_and_not_on_the_test_part() -> None:
    arms = {"scratch": (0.5, 0.6), "masked": (0.8, 0.7), "plain": (0.7, 0.9)}
    report = report_of(PLAN, [result(arm, seed, *values) for arm, values in arms.items() for seed in (0, 1)], {}, {})
    assert report.primary.arm == "masked"
    assert report.primary.result is not None
    gain = report.primary.result.gain
    assert gain is not None
    assert abs(gain.mean - 0.1) < 1e-9
    assert gain.excludes_zero
    assert gain.confidence == 0.975
    assert "| dice | 4 | plain | 0.9150 |" in table_of(report)
    assert drawn(report).startswith(b"\x89PNG")


def test_an_arm_is_held_against_the_control_too() -> None:
    tests = {"scratch": 0.6, "shuffled": 0.65, "masked": 0.7, "plain": 0.66}
    report = report_of(PLAN, [result(arm, seed, 0.5, test) for arm, test in tests.items() for seed in (0, 1)], {}, {})
    points: dict[str, Point] = {point.arm: point for point in report.points if point.metric == "dice"}
    of_scratch, of_control = points["masked"].gain, points["masked"].gain_over_control
    assert of_scratch is not None
    assert of_control is not None
    assert abs(of_scratch.mean - 0.1) < 1e-9
    assert abs(of_control.mean - 0.05) < 1e-9
    assert points["scratch"].gain_over_control is None
    assert points["shuffled"].gain_over_control is None
    assert "| +0.1000 [+0.1000, +0.1000] | +0.0500 [+0.0500, +0.0500] |" in table_of(report)
