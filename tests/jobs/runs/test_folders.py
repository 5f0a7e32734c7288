"""Runs are found by what their folders hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.runs import folders
from pixelmill.jobs.runs.folders import found_in, open_any, runs_below
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError


def test_runs_are_found_by_what_their_folders_hold(tmp_path: Path) -> None:
    kinds = {
        "a": "_run/spec.yaml",
        "deep/b": "_run/recipe.yaml",
        "flow": "_run/flow.yaml",
        "flow/step": "_run/spec.yaml",
    }
    for place, spec in kinds.items():
        Folder(str(tmp_path / place), Access()).publish(spec, b"x: 1\n")
    (tmp_path / "data").mkdir()
    listed = {run.uri.removeprefix(f"{tmp_path}/"): run.kind for run in runs_below(str(tmp_path))}
    assert listed == {"a": "job", "deep/b": "training", "flow": "flow", "flow/step": "job"}


def test_a_folder_without_a_run_is_refused_with_the_next_step(tmp_path: Path) -> None:
    assert found_in(Folder(str(tmp_path), Access())) is None
    with pytest.raises(JobError, match=r"there is no run here.*pixelmill jobs FOLDER"):
        open_any(str(tmp_path))


def test_a_mistyped_folder_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"gone: there is no such folder; check its name"):
        list(runs_below(str(tmp_path / "gone")))
    assert list(runs_below(str(tmp_path))) == []


def test_runs_are_looked_for_three_folders_deep_and_in_no_hidden_folder(tmp_path: Path) -> None:
    for place in ("a/b/c", "a/b/c/d", "a/.trash", "a/_old", "x"):
        Folder(str(tmp_path / place), Access()).publish("_run/spec.yaml", b"x: 1\n")
    assert {run.uri for run in runs_below(str(tmp_path))} == {f"{tmp_path}/a/b/c", f"{tmp_path}/x"}


def test_a_store_of_many_folders_is_not_looked_through_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MOST_FOLDERS", 3)
    for name in "abcde":
        Folder(str(tmp_path / name), Access()).publish("_run/spec.yaml", b"x: 1\n")
    assert [run.uri[-1] for run in runs_below(str(tmp_path))] == ["a", "b"]


def test_a_folder_that_was_only_claimed_or_submitted_is_a_run_of_no_kind(tmp_path: Path) -> None:
    out = Folder(str(tmp_path), Access())
    out.publish("_run/other.txt", b"")
    assert found_in(out) is None
    out.publish("_run/submissions/0001.json", b"{}")
    found = open_any(str(tmp_path))
    assert (found.kind, found.spec) == (None, None)
    out.publish("_run/recipe.yaml", b"")
    assert open_any(str(tmp_path)).kind == "training"
