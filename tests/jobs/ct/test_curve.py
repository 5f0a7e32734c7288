"""A whole curve on phantoms: resumed, reported, and with a control that has nothing of what was learned."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.jobs.ct import curve
from pixelmill.jobs.ct.curve import CurveJob, run_curve
from pixelmill.pipelines.ct import curve_cells
from pixelmill.pipelines.ct.curve_documents import CellResult
from pixelmill.pipelines.ct.curve_plan import Cell
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from tests.canaries import leaks
from tests.ct_tables import write_classes, write_lungs


def pretrained(folder: Path, *, size_px: int = 32) -> str:
    torch.manual_seed(3)
    network = CtAutoencoder(CtAutoencoderConfig(widths=(4, 8), size_px=size_px, masked=True))
    config = json.loads(json.dumps(asdict(network.config)))
    card = Card(
        network="ct-autoencoder", config=config, recipe="ct-autoencoder", settings={}, data="phantoms",
        data_licence="none", split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    save_checkpoint(folder, network, card)
    return str(folder)


def job_of(folder: Path) -> CurveJob:
    write_lungs(folder / "lungs", patients=12, slices=1)
    encoder = f"masked={pretrained(folder / 'masked')}"
    settings = {"steps": 2, "batch": 2}
    return CurveJob(
        [str(folder / "lungs")], str(folder / "out"), [encoder], "1,2", "2:dice", 2, 2, 1, settings=settings
    )


def test_a_killed_curve_goes_on_where_it_stopped_and_ends_with_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said = job_of(tmp_path), list[str]()
    table = run_curve(job, said.append)
    report = json.loads((tmp_path / "out" / "curve.json").read_bytes())
    assert report["primary"]["arm"] == "masked"
    assert {point["arm"] for point in report["points"]} == {"scratch", "shuffled", "masked", "masked-frozen"}
    assert "written down first: masked against scratch at n = 2, dice" in table
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    cells = sorted((tmp_path / "out" / "cells").iterdir())
    cells[0].unlink()
    trained = list[object]()
    train = curve_cells.trained
    monkeypatch.setattr(curve_cells, "trained", lambda *given: trained.append(given) or train(*given))
    assert run_curve(job, said.append) == table
    assert len(trained) == 1


def test_a_curve_is_extended_by_seeds_and_labels_and_says_that_it_was_looked_at_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job_of(tmp_path), labels="2")
    assert "looked at before" not in run_curve(job, lambda _: None)
    trained = list[object]()
    train = curve_cells.trained
    monkeypatch.setattr(curve_cells, "trained", lambda *given: trained.append(given) or train(*given))
    larger = replace(job, labels="1,2", few_seeds=3)
    table = run_curve(larger, lambda _: None)
    assert "looked at before, with n 2 and 2 or 2 seeds." in table
    assert len(trained) == 3 * 3 + 3 + 1  # three seeds of each arm at n = 1, one more at n = 2, also of the frozen one
    assert run_curve(larger, lambda _: None) == table
    for smaller in (replace(larger, few_seeds=2), replace(larger, labels="2")):
        with pytest.raises(JobError, match="seeds and labels alone can be added"):
            run_curve(smaller, lambda _: None)


def test_the_rate_is_chosen_by_the_mean_over_the_seeds_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the first seed alone it would be 1, by the last alone 0.1."""
    validation = {0.1: (0.1, 0.2, 0.9), 0.3: (0.5, 0.6, 0.5), 1.0: (0.9, 0.1, 0.1)}
    run_cell = curve.run_cell

    def planted(cell: Cell, *given: Any) -> CellResult:
        result = run_cell(cell, *given)
        dice = validation[cell.rate][cell.seed] if cell.seed < 3 else 0.0
        return result.model_copy(update={"validation": {"dice": dice}})

    monkeypatch.setattr(curve, "run_cell", planted)
    job = replace(job_of(tmp_path), labels="2", search_seeds=3)
    run_curve(job, lambda _: None)
    report = json.loads((tmp_path / "out" / "curve.json").read_bytes())
    assert report["rates"] == {"scratch": 0.3, "shuffled": 0.3, "masked": 0.3}


def test_a_curve_that_was_planned_with_one_seed_of_search_goes_on(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    table = run_curve(job, lambda _: None)
    path = tmp_path / "out" / "plan.json"
    plan = json.loads(path.read_bytes())
    del plan["search_seeds"]
    path.write_text(json.dumps(plan))
    assert run_curve(job, lambda _: None) == table
    with pytest.raises(JobError, match="search_seeds 1, not 3"):
        run_curve(replace(job, search_seeds=3), lambda _: None)


def test_slices_of_air_are_left_out_of_a_curve_as_of_a_training(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    image = next((tmp_path / "lungs/images").iterdir())
    Image.fromarray(np.full((32, 32), -1024, np.int32)).save(image)
    said = list[str]()
    run_curve(job, said.append)
    assert sum(int(word) for word in said[0].split() if word.isdecimal()) == 11


def test_a_curve_over_other_patients_is_refused_and_holds_no_names(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    run_curve(job, lambda _: None)
    assert leaks(tmp_path / "out", "ID_00") == []
    for path in sorted((tmp_path / "lungs").rglob("ID_*")):
        path.rename(path.with_name(path.name.replace("ID_00", "ID_90")))
    with pytest.raises(JobError, match="tested on other slices"):
        run_curve(job, lambda _: None)


def test_another_primary_comparison_is_refused_once_one_is_written_down(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    run_curve(job, lambda _: None)
    with pytest.raises(JobError, match="written down first: choose another out"):
        run_curve(replace(job, primary="1:dice"), lambda _: None)


def test_encoders_that_see_slices_otherwise_are_not_compared(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    other = f"plain={pretrained(tmp_path / 'other', size_px=64)}"
    with pytest.raises(JobError, match="differ in widths or normalisation"):
        run_curve(replace(job, encoders=[*job.encoders, other]), lambda _: None)


def test_classes_are_compared_by_the_area_under_the_curve(tmp_path: Path) -> None:
    write_classes(tmp_path / "heads", patients=24)
    settings = {"steps": 1, "batch": 2, "head": "classify", "widths": (4, 8), "size_px": 32}
    job = CurveJob([str(tmp_path / "heads")], str(tmp_path / "out"), [], "1", "1:auc", 1, 1, 1, settings=settings)
    assert "| auc | 1 | scratch |" in run_curve(job, lambda _: None)


def test_settings_that_belong_to_cells_are_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    with pytest.raises(JobError, match="the curve sets it for each cell"):
        run_curve(replace(job, settings={"labels": 3}), lambda _: None)
    with pytest.raises(JobError, match="--set steps"):
        run_curve(replace(job, settings={"steps": 0}), lambda _: None)
