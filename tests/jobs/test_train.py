"""`pixelmill train`: killed, resumed, on several workers, and asked for nonsense."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pixelmill.workers.models.zoo import zoo_path
from tests.support import Home, Run, pictures, pixelmill

SMALL = ["batch=8", "size_px=16", "latent_size=4", "hidden=32", "channels=3", "evaluate_every_steps=120"]


def arguments(photos: str, out: Path, *settings: str, run: dict[str, Any] | None = None) -> list[str]:
    chosen = [*SMALL, *settings, *(f"run.{key}={value}" for key, value in (run or {}).items())]
    overrides = [word for each in chosen for word in ("--set", each)]
    return ["train", "vae", "--data", photos, "--out", str(out), *overrides]


def last_weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / json.loads((out / "_run/last.json").read_text())["folder"] / "model.safetensors")


# ----------------------------------------------------------------------------------------------------- with Ray Train


@pytest.mark.slow  # seven starts of Ray; tests/pipelines/training/test_worker.py kills in one process
@pytest.mark.timeout(900)
def test_a_training_killed_with_its_driver_and_its_worker_ends_with_the_weights_of_an_undisturbed_one(
    user: Home, photos: str, tmp_path: Path
) -> None:
    often = {"checkpoint_every_s": 0.5, "threads": 1, "log_every_steps": 5}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ended = pixelmill(user, *arguments(photos, whole, "steps=480", run=often))
    assert ended.code == 0, ended.stderr
    assert "480 / 480" in ended.stderr or "trained" in ended.stdout
    with Run(user, *arguments(photos, killed, "steps=480", run=often)) as run:
        run.wait_until(lambda: (killed / "_run/last.json").exists(), "a checkpoint was there")
        run.kill()
        assert run.wait_until_gone() == []
    with Run(user, *arguments(photos, killed, "steps=480", run=often)) as run:
        run.wait_until(lambda: "reading the data" in run.stderr, "its worker read")
        run.interrupt()
        assert run.wait() == 130
        assert "the same command resumes from the last checkpoint: pixelmill train" in run.stderr
        assert run.wait_until_gone() == []
    with Run(user, *arguments(photos, killed, "steps=480", run=often)) as run:
        run.wait_until(lambda: "resumes at step" in run.stderr, "it went on")
        run.wait_until(lambda: run.find("RayTrainWorker"), "the worker was there")
        for worker in run.find("RayTrainWorker"):
            worker.send_signal(signal.SIGKILL)
        assert run.wait() == 0, run.stderr
        assert run.wait_until_gone() == []
    first, second = last_weights(whole), last_weights(killed)
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-6) for name in first)
    assert (whole / "log.csv").read_text() == (killed / "log.csv").read_text()

    again = pixelmill(user, *arguments(photos, killed, "steps=480", run=often))
    assert "was trained already" in again.stdout
    other = pixelmill(user, *arguments(photos, killed, "steps=480", "learning_rate=0.5"))
    assert other.code == 2
    assert "settings.learning_rate: 0.001 there, 0.5 here" in other.stderr
    shorter = pixelmill(user, *arguments(photos, killed, "steps=400"))
    assert shorter.code == 2
    assert "is at step 480, and the schedule would end at step 400" in shorter.stderr

    judged = pixelmill(user, "eval", "vae", "--checkpoint", str(killed), "--data", photos, "--json")
    assert judged.code == 0, judged.stderr
    report = json.loads(judged.stdout)
    card = json.loads((killed / "card.json").read_text())
    assert report["samples"] == 5
    assert report["metrics"]["negative_elbo"] == pytest.approx(card["metrics"]["negative_elbo"], rel=1e-4)


@pytest.mark.parametrize("word", ["starting", pytest.param("reading the data", marks=pytest.mark.slow)])
def test_a_training_that_is_asked_to_end_ends_in_order(user: Home, photos: str, tmp_path: Path, word: str) -> None:
    with Run(user, *arguments(photos, tmp_path / "out", "steps=480")) as run:
        run.wait_until(lambda: word in run.stderr, f"{word!r} was said")
        run.process.send_signal(signal.SIGTERM)
        assert run.wait() == 130, run.stderr
        assert "resumes from the last checkpoint" in run.stderr
        assert run.wait_until_gone() == []


@pytest.fixture(scope="module")
def plainly_trained(user: Home, photos: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights after 60 steps on one worker with all samples in memory."""
    return trained(user, photos, tmp_path_factory.mktemp("plain"), run={})


def trained(user: Home, photos: str, out: Path, run: dict[str, Any]) -> dict[str, torch.Tensor]:
    ended = pixelmill(user, *arguments(photos, out, "steps=60", run={"threads": 1} | run))
    assert ended.code == 0, ended.stderr
    return last_weights(out)


@pytest.mark.parametrize(
    "run",
    [{"workers": 2, "cache_gb": 0}, pytest.param({"workers": 2}, marks=pytest.mark.slow)],
    ids=["streamed", "kept"],
)
def test_two_workers_learn_as_one_with_the_whole_batch(
    user: Home, photos: str, tmp_path: Path, plainly_trained: dict[str, torch.Tensor], run: dict[str, Any]
) -> None:
    two = trained(user, photos, tmp_path / "two", run=run)
    assert all(torch.allclose(plainly_trained[name], two[name], rtol=1e-3, atol=1e-4) for name in two)


@pytest.mark.slow  # tests/pipelines/training/test_samples.py compares the samples, and two workers stream above
def test_samples_that_do_not_fit_into_memory_are_streamed_to_the_same_weights(
    user: Home, photos: str, tmp_path: Path, plainly_trained: dict[str, torch.Tensor]
) -> None:
    streamed = trained(user, photos, tmp_path / "streamed", run={"cache_gb": 0})
    assert all(torch.equal(plainly_trained[name], streamed[name]) for name in streamed)


@pytest.mark.slow  # Ray Train tries it three times
def test_an_error_of_a_worker_that_nobody_foresaw_is_reported_in_one_sentence(
    user: Home, photos: str, tmp_path: Path
) -> None:
    ended = pixelmill(
        user, *arguments(photos, tmp_path / "out", "steps=2", "hidden=10000000000")
    )  # of no machine's memory
    assert ended.code == 1
    *_, last = ended.stderr.splitlines()
    assert re.match(
        r"pixelmill: a worker failed again and again: RuntimeError: .*memory.*; the log has all of it", last
    )
    assert "Traceback" not in ended.stderr
    assert "Traceback" in (tmp_path / "out/_run/log.txt").read_text()


@pytest.mark.slow  # two workers on two cores start slowly
def test_two_workers_skip_a_file_that_is_no_picture_and_record_it_once(user: Home, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (pictures(data, 80, size=(16, 16))[40]).write_bytes(b"<html>")  # none of those that are looked at before Ray starts
    out = tmp_path / "out"
    ended = pixelmill(user, *arguments(str(data), out, "steps=20", "hold_out=8", run={"workers": 2, "threads": 1}))
    assert ended.code == 0, ended.stderr
    assert "1 broken samples were skipped; failed/ names them and why" in ended.stdout
    (row,) = pq.read_table(out / "failed").to_pylist()
    assert (Path(row["uri"]).name, row["stage"]) == ("00040.jpg", "decode")
    assert "looks like an HTML page" in row["error"]
    assert "1 broken samples were skipped" in json.loads((out / "card.json").read_text())["split"]


# ------------------------------------------------------------------------------------------------------ before Ray


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "epoch=3"], "did you mean epochs"),
        (["--set", "batch=0"], "batch: should be greater than 0"),
        (["--set", "rnu.workers=2"], "rnu"),
        (["--set", "batch=9", "--set", "run.workers=2"], "multiple of workers x accumulate"),
        (["--set", "hold_out=500"], "leaves nothing on one side"),
        (["--set", "profile=AKIA1234567890123456"], "carries credentials"),
    ],
)
def test_a_wrong_setting_is_reported_before_anything_starts(
    user: Home, photos: str, tmp_path: Path, options: list[str], said: str
) -> None:
    ended = pixelmill(user, "train", "vae", "--data", photos, "--out", str(tmp_path / "out"), *options)
    assert ended.code == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "0.png").write_bytes(b"<html>"), "0.png"),
        (lambda folder: None, "no"),
        (lambda folder: folder.rmdir(), "does not exist"),
    ],
)
def test_bad_data_is_reported_with_its_name(user: Home, tmp_path: Path, make: Any, said: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    ended = pixelmill(
        user, "train", "vae", "--data", str(folder), "--out", str(tmp_path / "out"), "--set", "hold_out=0"
    )
    assert ended.code == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out").rglob("*.json"))  # the folder is not taken: the mended command may use it


def test_a_folder_with_another_run_in_it_is_refused(user: Home, photos: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "_run").mkdir(parents=True)
    (out / "_run/training.json").write_text(json.dumps({"recipe": "unet", "settings": {}}))
    ended = pixelmill(user, *arguments(photos, out))
    assert ended.code == 2
    assert "recipe: unet there, vae here" in ended.stderr


# ---------------------------------------------------------------------------------------------------- parts of the data


def parted(folder: Path) -> str:
    for part, count in (("train", 16), ("val", 8)):
        pictures(folder / part, count, size=(16, 16))
    return str(folder)


@pytest.mark.slow  # two starts of Ray
def test_a_new_folder_is_tested_and_one_of_an_earlier_version_is_resumed_with_its_one_held_out_part(
    user: Home, tmp_path: Path
) -> None:
    data, new, old = parted(tmp_path / "data"), tmp_path / "new", tmp_path / "old"
    ended = pixelmill(user, *arguments(data, new, "steps=2", run={"threads": 1}))
    assert ended.code == 0, ended.stderr
    assert "; on the test part " in ended.stdout
    identity = json.loads((new / "_run/training.json").read_text())
    assert identity.pop("protocol") == 2
    (old / "_run").mkdir(parents=True)
    (old / "_run/training.json").write_text(json.dumps(identity))
    ended = pixelmill(user, *arguments(data, old, "steps=2", run={"threads": 1}))
    assert ended.code == 0, ended.stderr
    cards = [json.loads((out / "card.json").read_text()) for out in (new, old)]
    assert [card["split"].partition("; ")[2] for card in cards] == [
        "the step is selected on 2 of 16 training samples, drawn with seed 0; tested on val",
        "trained on train, judged on val",
    ]
    assert cards[0]["test_metrics"].keys() == cards[1]["metrics"].keys() - {"step", "trained_s"}
    assert cards[1]["test_metrics"] is None
    assert "protocol" not in json.loads((old / "_run/training.json").read_text())


# ------------------------------------------------------------------------------------------------------------ extended


@pytest.mark.slow  # three starts of Ray
def test_a_finished_training_goes_on_where_it_gets_more_steps(user: Home, photos: str, tmp_path: Path) -> None:
    whole, extended = tmp_path / "whole", tmp_path / "extended"
    for out, steps in ((whole, 60), (extended, 40), (extended, 60)):
        ended = pixelmill(user, *arguments(photos, out, f"steps={steps}", run={"threads": 1}))
        assert ended.code == 0, ended.stderr
    assert "goes on from step 40 to 60 in place of 40" in ended.stderr
    assert "stays at 1" in ended.stderr
    first, second = last_weights(whole), last_weights(extended)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((extended / "_run/training.json").read_text())["settings"]["steps"] == 60
    again = pixelmill(user, *arguments(photos, extended, "steps=60"))
    assert "was trained already, 60 steps" in again.stdout


# ------------------------------------------------------------------------------------------------------------- adapted


def streets(folder: Path, classes: list[str]) -> str:
    """Squares of colours, one for each class, with a part to train on and one to evaluate."""
    colours_K3 = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
    for part, count in (("train", 4), ("val", 2)):
        for number in range(count):
            ids_HW = np.random.default_rng(number).integers(0, len(classes), (4, 4)).repeat(8, 0).repeat(8, 1)
            for kind, pixels in (("images", colours_K3[ids_HW]), ("labels", ids_HW.astype(np.uint8))):
                (folder / part / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / part / kind / f"{number}.png")
    (folder / "classes.json").write_text(json.dumps({"classes": classes}))
    return str(folder)


def test_a_unet_of_the_zoo_is_adapted_to_new_classes_in_one_command(user: Home, tmp_path: Path) -> None:
    data, out = streets(tmp_path / "data", ["road", "boat", "sky"]), tmp_path / "out"
    words = ["train", "unet", "--data", data, "--out", str(out), "--set", "steps=2", "--set", "run.threads=1"]
    ended = pixelmill(user, *words, "--set", "init_from=unet-camvid")
    assert ended.code == 0, ended.stderr
    assert "begins with unet-camvid: 116 of 118 tensors loaded; new head score.bias, score.weight" in ended.stderr
    assert "rows of the head kept for road, sky; new classes boat" in ended.stderr
    card = json.loads((out / "card.json").read_text())
    assert card["classes"]["names"] == ["road", "boat", "sky"]
    assert (card["config"]["classes"], card["config"]["base"]) == (3, 16)
    assert card["initialised_from"]["sha256"] == hashlib.sha256(zoo_bytes("unet-camvid")).hexdigest()
    assert str(tmp_path) not in json.dumps(card)
    judged = pixelmill(user, "eval", "unet", "--checkpoint", str(out), "--data", data, "--json")
    assert judged.code == 0, judged.stderr
    other = pixelmill(user, *words, "--set", "init_from=segnet-camvid")
    assert other.code == 2
    assert "init_from: unet-camvid there, segnet-camvid here" in other.stderr


def zoo_bytes(name: str) -> bytes:
    path = zoo_path(name)
    assert path is not None
    return path.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["init_from=segnet-camvid"], "holds the network segnet, and recipe unet trains unet"),
        (["init_from=unet-camvid", "base=32"], "base: 16 there, 32 here"),
        (["init_from=unet-camvit"], "did you mean unet-camvid"),
        (["init_from=timm:resnet18"], "timm:resnet18 is no unet"),
        (["optimizer=lion"], "optimizer"),
        (["schedule=linear"], "schedule"),
        (["padding=same", "rates={trunk: 0.1}"], "no parameter's name begins with trunk"),
    ],
)
def test_what_a_training_cannot_begin_with_is_reported_before_anything_starts(
    user: Home, tmp_path: Path, options: list[str], said: str
) -> None:
    data = streets(tmp_path / "data", ["road", "boat", "sky"])
    overrides = [word for each in options for word in ("--set", each)]
    ended = pixelmill(user, "train", "unet", "--data", data, "--out", str(tmp_path / "out"), *overrides)
    assert ended.code in (1, 2)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out").rglob("*.json"))
