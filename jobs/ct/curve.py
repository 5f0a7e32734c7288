"""`ct curve`: how many labels pretraining saves. Plans the cells, runs those that are not finished, and reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from pixelmill.pipelines.ct.curve_cells import (
    RECIPE,
    CurveData,
    Encoder,
    finished,
    open_data,
    open_encoders,
    recipe_of,
    run_cell,
    seen_by,
)
from pixelmill.pipelines.ct.curve_documents import CellResult, Earlier, StoredPlan, StoredPrimary
from pixelmill.pipelines.ct.curve_plan import CurvePlan, labels_from, named_encoders, primary_from
from pixelmill.pipelines.ct.curve_report import LOWER_IS_BETTER, drawn, metrics_of, report_of, table_of
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.splits import Split, split
from pixelmill.workers.errors import JobError
from pixelmill.workers.recipes.registry import recipe_type

PLAN, REPORT, TABLE, PICTURE = "plan.json", "curve.json", "curve.md", "curve.png"
EARLIER = "earlier_reports"
GROWING = ("labels", "seeds", "few_seeds")
"""What may be added to a curve later; its report then says that the test part was looked at before."""
OWN = frozenset({"labels", "labels_seed", "seed", "encoder_rate", "frozen"})
"""Settings that the cells differ in."""


@dataclass(frozen=True)
class CurveJob:
    """What a person asks for; `settings` are those of ct-finetune, equal for every arm."""

    data: Sequence[str]
    out: str
    encoders: Sequence[str] = ()
    labels: str = "1,2,4,8,16,all"
    primary: str | None = None
    seeds: int = 3
    few_seeds: int = 10
    search_seeds: int = 3
    validation: float = 0.2
    test: float = 0.3
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    access: Access = field(default_factory=Access)


def run_curve(job: CurveJob, say: Callable[[str], None]) -> str:
    """The table of the curve, which is also written to OUT with its JSON and its picture. The same call resumes a killed
    curve. JobError for what can't be compared, before anything is trained."""
    plan = plan_of(job)
    out = Folder(job.out, job.access)
    encoders = open_encoders(plan, job.access)
    earlier = _keep_plan(job, plan, out)
    data = open_data(_split(job), {**plan.settings, **_adopted(encoders)})
    counts = [len(part.samples) for part in (data.train, data.val, data.test)]
    say("{:,} slices to train on, {:,} to validate on, {:,} to test on".format(*counts))
    rates = _chosen_rates(plan, data, encoders, out, say)
    cells = list(plan.cells(rates))
    results = list[CellResult]()
    for number, cell in enumerate(cells, 1):
        is_new = finished(cell, out) is None
        results.append(run_cell(cell, plan, data, encoders, out))
        if is_new:
            say(f"cell {number} of {len(cells)}: {cell.arm}, n = {cell.labels or 'all'}, seed {cell.seed}")
    recipe = recipe_of({**plan.settings, **_adopted(encoders)})
    report = report_of(plan, results, recipe.baselines(data.test.samples), rates, earlier)
    out.publish(REPORT, report.to_json())
    out.publish(TABLE, table_of(report).encode())
    out.publish(PICTURE, drawn(report))
    out.publish(SUCCESS, json.dumps({"cells": len(results), "rates": rates}, indent=1).encode())
    return table_of(report)


def plan_of(job: CurveJob) -> CurvePlan:
    """The plan, checked. JobError for settings that cells differ in, or that are wrong."""
    if taken := sorted(OWN & job.settings.keys()):
        raise JobError(f"--set {taken[0]}: the curve sets it for each cell; leave it out")
    try:
        head = recipe_of(job.settings).settings.head
    except ValidationError as error:
        first = error.errors()[0]
        raise JobError(f"--set {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    labels = labels_from(job.labels)
    metrics = metrics_of(head)
    primary = primary_from(job.primary or f"{_default(labels)}:{metrics[0]}", labels, metrics)
    return CurvePlan(
        named_encoders(job.encoders), labels, primary, job.seeds, job.few_seeds, job.search_seeds,
        settings={**job.settings, "head": head},
    )  # fmt: skip


def _default(labels: Sequence[int | None]) -> str:
    return "4" if 4 in labels else str(labels[0] or "all")


def _keep_plan(job: CurveJob, plan: CurvePlan, out: Folder) -> Sequence[Earlier]:
    """Write the plan down before anything is trained; returns what earlier reports were of. A resumed curve has to have the same
    plan, its primary comparison too; seeds and numbers of labels may be added."""
    stated = StoredPlan.of(json.dumps(asdict(plan) | {"validation": job.validation, "test": job.test}).encode())
    if out.create(PLAN, stated.to_json()):
        return ()
    before = _stored_plan(out)
    for key, value in stated:
        if key != EARLIER and not _continues(key, kept := getattr(before, key), value):
            raise JobError(
                f"{out.uri}: holds a curve with {key} {_worded(kept)}, not {_worded(value)}; a curve keeps what was written "
                "down first: choose another out; seeds and labels alone can be added"
            )
    earlier = before.earlier_reports
    if any(getattr(stated, key) != getattr(before, key) for key in GROWING):
        if out.exists(REPORT):
            earlier = (*earlier, Earlier(labels=before.labels, seeds=before.seeds, few_seeds=before.few_seeds))
        out.publish(PLAN, stated.model_copy(update={EARLIER: earlier}).to_json())
    return earlier


def _stored_plan(out: Folder) -> StoredPlan:
    try:
        return StoredPlan.of(out.read(PLAN) or b"{}")
    except ValueError as error:
        raise JobError(f"{out.uri}/{PLAN}: is no plan of a curve; choose another out") from error


def _continues(key: str, before: Any, stated: Any) -> bool:
    if key not in GROWING:
        return before == stated
    return set(before) <= set(stated) if key == "labels" else before <= stated


def _worded(value: object) -> str:
    return str(value.model_dump() if isinstance(value, StoredPrimary) else value)


def _split(job: CurveJob) -> Split:
    return split(recipe_type(RECIPE).ROLES, job.data, [], job.validation, 0, job.access, job.test)


def _adopted(encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    return seen_by(next(iter(encoders.values())).card) if encoders else {}


def _chosen_rates(
    plan: CurvePlan, data: CurveData, encoders: Mapping[str, Encoder], out: Folder, say: Callable[[str], None]
) -> dict[str, float]:
    """For each arm the encoder's rate that is best on validation, by the mean over the seeds of the search."""
    metric = plan.primary.metric
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values: dict[str, dict[float, list[float]]] = {}
    for cell in plan.searched():
        value = sign * run_cell(cell, plan, data, encoders, out).validation.get(metric, float("-inf"))
        values.setdefault(cell.arm, {}).setdefault(cell.rate, []).append(value)
    rates = {arm: max(found, key=lambda rate: fmean(found[rate])) for arm, found in values.items()}
    say("encoder rates, chosen on validation: " + ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()))
    return rates
