"""Laws of training: resumed as if nothing had happened, and patient as far as it was told to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints, requests
from pixelmill.pipelines.training.peers import Peers
from pixelmill.pipelines.training.plan import STOP, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.recipes import Batch
from tests.pipelines.training.several_workers import run_together
from tests.pipelines.training.trainings import Mortal, Silent, log, plan_of, train


def weights(out: Path) -> dict[str, Tensor]:
    last = json.loads((out / "_run/last.json").read_text())["folder"]
    return load_file(out / last / "model.safetensors")


@pytest.mark.parametrize("killed_at", [1, 5, 6, 11])
@pytest.mark.parametrize("every_s", [0.0, 1e9])
def test_weights_and_curve_after_a_kill_equal_those_of_an_undisturbed_training(
    pictures: str, tmp_path: Path, killed_at: int, every_s: float
) -> None:
    train(plan_of(pictures, tmp_path / "whole", log_every_steps=4))
    interrupted = plan_of(pictures, tmp_path / "killed", checkpoint_every_s=every_s, log_every_steps=4)
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, killed_at)
    resumed = train(interrupted)
    assert resumed.progress.is_complete
    whole, again = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert log(tmp_path / "whole") == log(tmp_path / "killed")


class Stopping(Silent):
    """The driver asks for the end once the training has reported this step."""

    def __init__(self, step: int) -> None:
        self.step, self.reported = step, 0

    def report(self, key: str, text: str) -> None:
        self.reported = json.loads(text).get("step", 0)

    def get(self, key: str) -> str | None:
        return "1" if key == STOP and self.reported >= self.step else None


@pytest.mark.parametrize("stopped_at", [1, 5, 6, 11])
def test_a_training_that_is_asked_to_end_saves_and_goes_on_from_there(
    pictures: str, tmp_path: Path, stopped_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "POLL_S", 0.0)
    train(plan_of(pictures, tmp_path / "whole"))
    rarely = plan_of(pictures, tmp_path / "stopped", checkpoint_every_s=1e9)
    stopped = train(rarely, store=Stopping(stopped_at))
    assert stopped.progress.step == stopped_at
    saved = checkpoints.read_progress(stopped.folder)
    assert saved is not None
    assert (saved.step, saved.is_complete) == (stopped_at, False)
    assert train(rarely).progress.is_complete
    whole, again = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert log(tmp_path / "whole") == log(tmp_path / "stopped")


def test_a_notice_that_the_machine_goes_makes_a_checkpoint_and_the_steps_go_on(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "POLL_S", 0.0)
    plan = plan_of(pictures, tmp_path / "out", checkpoint_every_s=1e9)
    asked = requests.Requests(Silent(), lambda: ("node",) if made.progress.step >= 5 else None)
    made = Mortal(plan, WorkerGroup(), 0, torch.device("cpu"), {}, Silent(), requests=asked)
    made.killed_at = 9
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert (made.progress.step, checkpoints.read_progress(made.folder).step) == (9, 5)  # pyright: ignore[reportOptionalMemberAccess]


def test_a_checkpoint_that_can_not_be_written_ends_the_training_at_a_later_step(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OSError("no space")

    monkeypatch.setattr(checkpoints, "save_training", fail)
    with pytest.raises(OSError, match="no space"):
        train(plan_of(pictures, tmp_path / "out"))


def test_a_resumed_training_does_not_repeat_the_steps_before_its_checkpoint(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        train(plan, killed_at=8)
    steps: list[int] = []

    class Counting(Training):
        def step(self, step: int, indices: Any, passes: list[Batch]) -> dict[str, Tensor]:
            steps.append(step)
            return super().step(step, indices, passes)

    Counting(plan, WorkerGroup(), 0, torch.device("cpu"), {}, Silent()).run()
    assert steps == [8, 9, 10, 11]


def test_patience_ends_a_training(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(
        pictures, tmp_path / "out", {"steps": 60, "patience": 2, "learning_rate": 0.3, "evaluate_every_steps": 2}
    )
    assert train(plan).progress.step < 60


def test_a_metric_that_is_no_number_is_never_the_best_nor_on_the_card(pictures: str, tmp_path: Path) -> None:
    made = train(plan_of(pictures, tmp_path / "out"))
    best = made.progress.best
    assert best is not None
    made.judge({"negative_elbo": float("nan"), "elbo": 1.0})
    assert (made.progress.best, made.progress.since_best) == (best, 1)
    made.progress.best = None
    made.judge({"negative_elbo": float("nan"), "elbo": 1.0})
    made.writer.wait()
    assert made.progress.best is None
    assert "negative_elbo" not in checkpoints.load_from_store(str(tmp_path / "out"), Access())[1].metrics
    made.judge({"negative_elbo": 5.0})
    assert made.progress.best == 5.0


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_a_training_with_broken_samples_is_resumed_as_exactly_and_names_each_once(
    pictures: str, tmp_path: Path, cache_bytes: int
) -> None:
    for name in ("004.png", "005.png", "021.png"):
        (Path(pictures) / name).write_bytes(b"<html>")
    train(plan_of(pictures, tmp_path / "whole", cache_bytes=1 << 30))
    interrupted = plan_of(pictures, tmp_path / "killed", cache_bytes=cache_bytes)
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, 7)
    train(interrupted)
    whole, again = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    rows = pq.read_table(tmp_path / "killed/failed").to_pylist()
    assert [Path(row["uri"]).name for row in rows] == ["004.png", "005.png", "021.png"]
    assert "3 broken samples were skipped" in json.loads((tmp_path / "killed/card.json").read_text())["split"]


def test_a_broken_sample_of_the_test_part_is_recorded_too(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out")
    assert plan.held_out is not None
    half = len(plan.held_out) // 2
    tested = plan.held_out.take(range(half))
    Path(tested.first["uri"][0].as_py()).write_bytes(b"<html>")
    train(replace(plan, held_out=plan.held_out.take(range(half, len(plan.held_out))), test=tested))
    (row,) = pq.read_table(tmp_path / "out/failed").to_pylist()
    assert row["uri"] == tested.first["uri"][0].as_py()
    card = json.loads((tmp_path / "out/card.json").read_text())
    assert card["test_metrics"]["negative_elbo"] > 0


def test_another_cache_does_not_change_the_order_of_a_training_that_is_resumed(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(pictures, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        train(plan, killed_at=3)
    progress = checkpoints.read_progress(Folder(str(tmp_path / "out"), Access()))
    assert progress is not None
    assert progress.in_blocks is False


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine", "warmup_steps": 3}])
def test_a_finished_training_that_gets_more_steps_takes_them_at_the_rates_of_its_new_length(
    pictures: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    train(plan_of(pictures, tmp_path / "out", settings))
    extended = train(plan_of(pictures, tmp_path / "out", settings | {"steps": 20}))
    assert (extended.progress.step, extended.progress.steps, extended.progress.is_complete) == (20, 20, True)
    rates = [float(row["learning_rate"]) for row in log(tmp_path / "out") if row["learning_rate"]]
    rate = extended.recipe.rate
    expected = [rate(step, 12) for step in range(12)] + [rate(step, 20) for step in range(12, 20)]
    assert rates == pytest.approx([1e-3 * each for each in expected], rel=1e-4)


def test_a_finished_training_at_a_constant_rate_is_extended_to_the_weights_of_one_of_that_length(
    pictures: str, tmp_path: Path
) -> None:
    train(plan_of(pictures, tmp_path / "whole", {"steps": 20}))
    train(plan_of(pictures, tmp_path / "out"))
    train(plan_of(pictures, tmp_path / "out", {"steps": 20}))
    whole, extended = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(torch.equal(whole[name], extended[name]) for name in whole)


def test_a_training_that_patience_ended_goes_on_with_new_patience(pictures: str, tmp_path: Path) -> None:
    settings = {"steps": 60, "patience": 2, "learning_rate": 0.3, "evaluate_every_steps": 2}
    ended = train(plan_of(pictures, tmp_path / "out", settings)).progress
    assert ended.is_complete
    again = train(plan_of(pictures, tmp_path / "out", settings | {"patience": 3})).progress
    assert again.step >= ended.step + 6


def judged_on_all(pictures: str, out: Path) -> TrainingPlan:
    plan = plan_of(pictures, out)
    return replace(plan, held_out=plan.train)


def train_share(rank: int, pictures: str, out: Path) -> None:
    """One worker of two."""
    for _ in range(2):  # the second time it is resumed, and complete
        plan = judged_on_all(pictures, out)
        Training(plan, WorkerGroup(2), rank, torch.device("cpu"), {}, Silent(), Peers(rank, 2)).run()
        torch.distributed.barrier()  # pyright: ignore[reportUnknownMemberType]


def test_two_workers_learn_and_judge_as_one(pictures: str, tmp_path: Path) -> None:
    train(judged_on_all(pictures, tmp_path / "one"))
    run_together(train_share, pictures, tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-6) for name in one)
    rows = zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True)
    for alone, together in rows:
        assert together.keys() == alone.keys()
        assert {name: float(together[name]) for name in alone if name != "kind" and alone[name]} == pytest.approx(
            {name: float(alone[name]) for name in alone if name != "kind" and alone[name]}, rel=1e-4
        )
