"""A folder is one training's from its first attempt on: signed with its identity, refused to others, complete in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.training.initial_weights import STORED
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.jobs.training.marks import IDENTITY, SPEC, check_identity, sign, succeed
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.checkpoints import LAST
from pixelmill.pipelines.training.initial import InitialWeights
from pixelmill.pipelines.training.protocol import TESTED
from pixelmill.workers.errors import ClaimLost, RunRefused
from pixelmill.workers.models.weight_files import WEIGHTS
from tests.jobs.session.held import NOW_S, held_session

NONE: frozenset[str] = frozenset()


def job_of(out: Path, *overrides: str) -> TrainJob:
    text = f"recipe: vae\ndata: {out.parent}/in\nout: {out}\n"
    return read_recipe_file(text, name="vae.yaml", overrides=["steps=100", *overrides], environment={})


def read(out: Folder, name: str) -> Any:
    return json.loads(out.read(name) or b"null")


def signed(job: TrainJob, changed: frozenset[str] = NONE) -> Folder:
    with held_session(job.open_out()) as held:
        sign(job, held, TESTED, changed)
    return job.open_out()


def test_a_new_folder_is_signed_with_the_training_and_its_file(tmp_path: Path) -> None:
    job = job_of(tmp_path / "out")
    assert check_identity(job, job.open_out()) == (TESTED, NONE)
    out = signed(job)
    assert read(out, IDENTITY)["settings"]["steps"] == 100
    assert b"recipe: vae" in (out.read(SPEC) or b"")
    assert check_identity(job, out) == (TESTED, NONE)


def test_another_training_is_refused_before_and_while_it_signs(tmp_path: Path) -> None:
    out = signed(job_of(tmp_path / "out"))
    other = job_of(tmp_path / "out", "learning_rate=0.5")
    with pytest.raises(RunRefused, match=r"settings\.learning_rate: .* there, 0\.5 here"):
        check_identity(other, out)
    with pytest.raises(RunRefused, match="learning_rate"):
        signed(other)
    assert read(out, IDENTITY)["settings"]["learning_rate"] != 0.5


def test_a_setting_that_may_change_is_named_and_kept_once_it_is_signed(tmp_path: Path) -> None:
    out = signed(job_of(tmp_path / "out"))
    longer = job_of(tmp_path / "out", "steps=200")
    protocol, changed = check_identity(longer, out)
    assert (protocol, changed) == (TESTED, {"steps"})
    signed(longer, changed)
    assert read(out, IDENTITY)["settings"]["steps"] == 200
    assert check_identity(longer, out) == (TESTED, NONE)


def test_a_training_of_before_test_parts_keeps_its_protocol(tmp_path: Path) -> None:
    job = job_of(tmp_path / "out")
    out = job.open_out()
    out.publish(IDENTITY, json.dumps(job.identity(1)).encode())
    assert "protocol" not in job.identity(1)
    assert check_identity(job, out) == (1, NONE)


def test_an_attempt_that_was_overtaken_signs_nothing(tmp_path: Path) -> None:
    def overtaken() -> None:
        with held_session(job.open_out()) as held:
            assert held.out.create(Claim(2, "f" * 32, held.out.is_fenced).file, b"{}")
            sign(job, held, TESTED, NONE)

    job = job_of(tmp_path / "out")
    with pytest.raises(ClaimLost):
        overtaken()
    assert job.open_out().read(IDENTITY) is None


def test_success_has_the_figures_of_the_card_and_the_steps_that_were_taken(tmp_path: Path) -> None:
    job = job_of(tmp_path / "out")
    out = signed(job)
    out.publish("card.json", json.dumps({"metrics": {"psnr": 20.5}, "marks_sha256": "abc"}).encode())
    out.publish(WEIGHTS, b"weights")
    out.publish(LAST, b'{"folder": "checkpoints/1"}')
    out.publish("checkpoints/1/training.json", b'{"progress": {"step": 100, "failed": 2}}')
    with held_session(out) as held:
        succeed(job, held, TESTED)
    made = read(out, SUCCESS)
    assert (made["steps"], made["failed"], made["metrics"], made["test_metrics"]) == (100, 2, {"psnr": 20.5}, None)
    assert (made["inputs_digest"], made["identity"]["recipe"]) == ("abc", "vae")
    assert made["weights"]
    assert made["finished_at"] == "1970-01-02T00:00:00+00:00"
    assert NOW_S == 86_400


def test_the_weights_that_a_training_began_with_are_written_down_once(tmp_path: Path) -> None:
    first = InitialWeights("zoo/a", "a", "vae", "a" * 64)
    job = replace(job_of(tmp_path / "out"), initial=first)
    out = signed(job)
    signed(replace(job, initial=replace(first, name="b")))
    assert read(out, STORED)["name"] == "a"
