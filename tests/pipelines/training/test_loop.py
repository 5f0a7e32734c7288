"""Laws of training: resumed as if nothing had happened, the same over more workers, and every fault told by name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints, loop, sampling
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.loop import Training, TrainingFailed, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.sampling import Batches, BatchShare, Memory, SampleOrder, Stream
from pixelmill.pipelines.training.splits import parts_of, split, to_evaluate
from pixelmill.workers.errors import DataError, JobError, PixelmillError
from pixelmill.workers.recipes import Batch, registry
from pixelmill.workers.recipes.vae import VaeRecipe

PICTURES = 24
SETTINGS = {"steps": 12, "batch": 8, "latent_size": 3, "hidden": 16, "size_px": 8, "evaluate_every_steps": 6}


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{number:03d}.png")
    return str(folder)


def plan_of(pictures: str, out: Path, settings: dict[str, Any] | None = None, **changes: Any) -> TrainingPlan:
    found = split(layout_of("pictures").ROLES, [pictures], [], 4, 0, Access())
    options: dict[str, Any] = {
        "recipe": "vae",
        "settings": SETTINGS | (settings or {}),
        "train": found.train,
        "held_out": found.held_out,
        "split": found.says,
        "trained_on": tuple(found.train.fingerprints()),
        "data": "noise",
        "data_licence": "none",
        "out": str(out),
        "access": Access(),
        "versions": {},
        "git_revision": None,
        "checkpoint_every_s": 0.0,
        "log_every_steps": 1,
    }
    return TrainingPlan(**options | changes)


class Silent(ProgressStore):
    """Reports to nobody."""

    def __init__(self) -> None:
        pass

    def report(self, key: str, text: str) -> None:
        pass


class Mortal(Training):
    """Ends before a step, as a process that is killed there."""

    killed_at: int | None = None

    def step(self, step: int, indices: Any, passes: list[Batch]) -> dict[str, Tensor]:
        if step == self.killed_at:
            raise KeyboardInterrupt
        return super().step(step, indices, passes)


def train(plan: TrainingPlan, killed_at: int | None = None) -> Training:
    made = Mortal(plan, WorkerGroup(), 0, torch.device("cpu"), {}, Silent())
    made.killed_at = killed_at
    made.run()
    return made


def weights(out: Path) -> dict[str, Tensor]:
    last = json.loads((out / "_run/last.json").read_text())["folder"]
    return load_file(out / last / "model.safetensors")


def log(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "log.csv").read_text())))


# ------------------------------------------------------------------------------------------------------ resumption


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


def test_batches_for_a_gpu_are_pinned_before_their_step(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Training(plan_of(pictures, tmp_path / "out"), WorkerGroup(), 0, torch.device("cpu"), {}, Silent())
    batch = {"images": torch.zeros(2), "labels": torch.ones(2)}
    assert made._placed((0, [batch]))[1] == [batch]
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 5)
    made.device = torch.device("cuda")
    indices, passes = made._placed((0, [batch, batch]))
    assert indices == 0
    assert [{name: tensor.tolist() for name, tensor in each.items()} for each in passes] == [
        {"images": [5.0, 5.0], "labels": [6.0, 6.0]}
    ] * 2


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


def test_what_a_network_draws_follows_from_the_seed_the_step_and_the_worker_alone(
    pictures: str, tmp_path: Path
) -> None:
    """As dropout does, which a training that is resumed has to repeat."""

    def drawn(seed: int, rank: int, step: int) -> float:
        plan = plan_of(pictures, tmp_path / "out", {"seed": seed})
        made = Training(plan, WorkerGroup(), rank, torch.device("cpu"), {}, Silent())
        ((indices, passes),) = Batches(
            made.samples, made.recipe, made.samples.order(seed), BatchShare(made.settings.batch)
        )(range(step, step + 1))
        torch.rand(step)  # what was drawn before does not count
        made.step(step, indices, passes)
        return torch.rand(()).item()

    cases = [(seed, rank, step) for seed in (0, 1) for rank in (0, 1) for step in (3, 4)]
    assert len({drawn(*case) for case in cases}) == len(cases)
    for case in cases:
        torch.manual_seed(9)
        assert drawn(*case) == drawn(*case)


def test_an_optimizers_state_survives_without_pickle() -> None:
    for kind in (torch.optim.Adam, torch.optim.AdamW, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)):
        first, second = nn.Linear(3, 2), nn.Linear(3, 2)
        second.load_state_dict(first.state_dict())
        optimizers = [kind(first.parameters()), kind(second.parameters())]
        inputs = torch.ones(4, 3)

        def step(network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor = inputs) -> None:
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()

        step(first, optimizers[0])
        second.load_state_dict(first.state_dict())
        tensors, groups = checkpoints.optimizer_state(optimizers[0])
        checkpoints.restore_optimizer(optimizers[1], tensors, json.loads(json.dumps(groups)))
        for network, optimizer in zip((first, second), optimizers, strict=True):
            step(network, optimizer)
        assert torch.equal(first.weight, second.weight)


def test_only_the_newest_training_checkpoint_is_kept_and_the_best_is_the_folder_itself(
    pictures: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(plan_of(pictures, out))
    assert [each.name for each in (out / "_run").iterdir() if each.is_dir()] == ["step-00000012"]
    network, card = checkpoints.load_from_store(str(out), Access())
    evaluations = [row for row in log(out) if row["kind"] == "evaluation"]
    best = min(evaluations, key=lambda row: float(row["negative_elbo"]))
    assert card.metrics["negative_elbo"] == pytest.approx(float(best["negative_elbo"]))
    assert card.metrics["step"] == int(best["step"])
    assert not network.training
    pictured = sorted(file.name for file in (out / "samples").iterdir())
    assert pictured == ["00000006.png", "00000012.png"]
    with Image.open(out / "curve.png") as curve:
        assert curve.size[0] > 400
    assert list((out / "tensorboard").rglob("events*"))


def test_patience_ends_a_training(pictures: str, tmp_path: Path) -> None:
    plan = plan_of(
        pictures, tmp_path / "out", {"steps": 60, "patience": 2, "learning_rate": 0.3, "evaluate_every_steps": 2}
    )
    assert train(plan).progress.step < 60


# ---------------------------------------------------------------------------------------------------- order of data


@pytest.mark.parametrize(("workers", "accumulate"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (4, 2)])
def test_each_batch_is_the_same_whatever_the_workers_and_passes(pictures: str, workers: int, accumulate: int) -> None:
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    samples, order = Memory(data, recipe), SampleOrder(len(data), 3)

    def batches(workers: int, accumulate: int) -> list[Tensor]:
        shares = [BatchShare(8, accumulate, workers, rank) for rank in range(workers)]
        streams = [list(Batches(samples, recipe, order, share)(range(7))) for share in shares]
        steps = zip(*streams, strict=True)
        return [torch.cat([one["noise"] for _, passes in step for one in passes]) for step in steps]

    for whole, divided in zip(batches(1, 1), batches(workers, accumulate), strict=True):
        assert torch.equal(whole, divided)


def test_streamed_samples_are_those_of_memory(pictures: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "WINDOW_SAMPLES", 5)
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    order = SampleOrder(len(data), 1)
    for steps in (range(9), range(4, 9)):
        kept = list(Memory(data, recipe).stream(order, BatchShare(7), steps))
        streamed = list(Stream(data, recipe).stream(order, BatchShare(7), steps))
        for (indices, samples), (others, read) in zip(kept, streamed, strict=True):
            assert indices.tolist() == others.tolist()
            assert all(np.array_equal(a["pixels"], b["pixels"]) for a, b in zip(samples, read, strict=True))


def test_every_sample_comes_once_an_epoch_and_epochs_differ() -> None:
    order = SampleOrder(10, 0)
    epochs = [order.indices(start, start + 10).tolist() for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.indices(7, 13).tolist() == [*epochs[0][7:], *epochs[1][:3]]


def test_a_batch_that_workers_cannot_share_is_refused() -> None:
    with pytest.raises(JobError, match="multiple of workers x accumulate"):
        BatchShare(9, 1, 2)


def test_samples_of_any_shape_survive_the_way_through_ray_data() -> None:
    samples = [
        {"a": np.arange(6, dtype=np.uint16).reshape(2, 3), "b": np.float32(2.5).reshape(())},
        {"a": np.zeros((0, 4))},
    ]
    again = sampling.unpack(sampling.pack(samples))
    assert [set(each) for each in again] == [{"a", "b"}, {"a"}]
    assert again[0]["a"].dtype == np.uint16
    assert again[0]["b"].shape == ()
    assert again[1]["a"].shape == (0, 4)


# ----------------------------------------------------------------------------------------------------------- faults


class BrokenRecipe(VaeRecipe):
    """Its loss is not a number at the third step."""

    steps = 0

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        losses = super().losses(network, batch)
        type(self).steps += 1
        return {name: value * float("nan") for name, value in losses.items()} if type(self).steps == 3 else losses


def test_a_loss_that_is_not_a_number_stops_with_the_step_and_the_samples(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RECIPES, "broken", f"{__name__}:BrokenRecipe")
    monkeypatch.setattr(loop, "recipe_type", lambda name: BrokenRecipe)
    plan = plan_of(pictures, tmp_path / "out", recipe="broken")
    with pytest.raises(TrainingFailed, match=r"step 2: the loss is not a number .*\d\d\d\.png"):
        train(plan)
    assert json.loads((tmp_path / "out/_run/last.json").read_text())["step"] == 2


def test_a_file_that_is_no_picture_is_named(pictures: str) -> None:
    (Path(pictures) / "010.png").write_bytes(b"<html>")
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    with pytest.raises(DataError, match=r"010\.png: "):
        list(sampling.scan(data, VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})))


def test_a_rehearsal_finds_what_is_wrong_in_the_middle_and_needs_no_memory(pictures: str) -> None:
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    loop.rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS | {"hidden": 10**10}), {}), data, together=8)
    (Path(pictures) / "013.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"013\.png: was replaced or written to since it was listed"):
        loop.rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS), {}), data, together=8)
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    with pytest.raises(DataError, match=r"013\.png: looks like an HTML page"):
        loop.rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS), {}), data, together=8)


class Uncut(VaeRecipe):
    """Pictures stay as large as they are."""

    def batch(self, samples: Any, random: np.random.Generator) -> Batch:
        return {"images": torch.stack([torch.from_numpy(sample["pixels"]) for sample in samples])}


def test_samples_of_different_sizes_in_one_batch_are_told_with_their_sizes() -> None:
    class Two(Memory):
        def __init__(self) -> None:
            self._samples = [{"pixels": np.zeros((side, 8, 1))} for side in (8, 9)]

    recipe = Uncut(VaeRecipe.Settings(**SETTINGS), {})
    with pytest.raises(DataError, match=r"images of 8x8x1 and 9x8x1 don't fit into one batch"):
        list(Batches(Two(), recipe, SampleOrder(2, 0), BatchShare(2))(range(1)))


# --------------------------------------------------------------------------------------------------------- data sets


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, None], "row 2 of column label is null"),
        ([0, -1, 1], "row 1 of column label is -1"),
        (["cat", "dog", "cat"], "column label holds string, not integers"),
    ],
)
def test_labels_of_a_table_that_are_no_classes_are_told_by_row_where_they_are_needed(
    tmp_path: Path, labels: list[Any], said: str
) -> None:
    table = str(tmp_path / "table.parquet")
    pq.write_table(pa.table({"image": [b"x"] * 3, "label": labels}), table)
    with pytest.raises(DataError, match=rf"table\.parquet: {said}.*; write each row's class as an integer from 0 on"):
        find(layout_of("classes").ROLES, [table], Access())
    assert find(layout_of("pictures").ROLES, [table], Access()).labels is None


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = masks(tmp_path, "ab", "ab")
    Image.new("L", (6, 4)).save(tmp_path / "images/a.jpg")
    with pytest.raises(DataError, match=r"a\.png: .*a\.jpg has the same name"):
        find(layout_of("masks").ROLES, [folder], Access())


def masks(folder: Path, names: Iterable[str], labels: Iterable[str]) -> str:
    for kind, several in (("images", names), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name in several:
            Image.fromarray(np.zeros((4, 6), np.uint8)).save(folder / kind / f"{name}.png")
    return str(folder)


def test_pictures_and_masks_pair_by_name(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"classes": ["a", "b"]}')
    masks(tmp_path / "train", "abc", "abc")
    masks(tmp_path / "val", "de", "de")
    found = split(layout_of("masks").ROLES, [str(tmp_path)], [], 0.1, 0, Access())
    assert (len(found.train), len(found.held_out or [])) == (3, 2)
    assert found.train.constants == {"classes": b'{"classes": ["a", "b"]}'}
    pairs = zip(*(found.train.roles[role]["uri"].to_pylist() for role in ("image", "label")), strict=True)
    assert all(Path(image).name == Path(label).name for image, label in pairs)


def test_a_picture_without_its_label_is_named_with_what_is_missing(tmp_path: Path) -> None:
    folder = masks(tmp_path, "abc", "ac")
    with pytest.raises(DataError, match="b has no file in labels"):
        find(layout_of("masks").ROLES, [folder], Access())
    with pytest.raises(DataError, match="no folder left or right"):
        find(layout_of("stereo").ROLES, [folder], Access())


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PixelmillError):
        find(layout_of("pictures").ROLES, [str(tmp_path)], Access())


def test_nothing_that_was_trained_on_is_evaluated_on(pictures: str, tmp_path: Path) -> None:
    found = split(layout_of("pictures").ROLES, [pictures], [], 4, 0, Access())
    trained_on = frozenset(found.train.fingerprints())
    copied = tmp_path / "elsewhere"
    copied.mkdir()
    for file in Path(pictures).iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    judged, says = to_evaluate(layout_of("pictures").ROLES, [str(copied)], "auto", trained_on, Access())
    assert len(judged) == 4
    assert "20 that were trained on" in says
    assert len(to_evaluate(layout_of("pictures").ROLES, [str(copied)], "all", trained_on, Access())[0]) == PICTURES
    with pytest.raises(DataError, match="trained on every sample"):
        to_evaluate(
            layout_of("pictures").ROLES,
            [str(copied)],
            "auto",
            frozenset(find(layout_of("pictures").ROLES, [str(copied)], Access()).fingerprints()),
            Access(),
        )


@pytest.mark.parametrize(("hold_out", "held"), [(0.25, 6), (5, 5)])
def test_hold_out_divides_without_overlap(pictures: str, hold_out: float, held: int) -> None:
    found = split(layout_of("pictures").ROLES, [pictures], [], hold_out, 0, Access())
    assert found.held_out is not None
    train, out = set(found.train.names()), set(found.held_out.names())
    assert len(out) == held
    assert not train & out
    assert len(train | out) == PICTURES
    if hold_out >= 1:
        assert min(out) > max(train)


# ------------------------------------------------------------------------------------- what a checkpoint is judged by


def folders(root: Path, **counts: int) -> str:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (8, 8), number).save(root / name / f"{number}.png")
    return str(root)


def test_a_class_has_one_number_in_every_part(tmp_path: Path) -> None:
    folders(tmp_path / "data/train", ape=1, bee=1, cat=2)
    folders(tmp_path / "data/val", bee=1, cat=1)
    found = split(layout_of("classes").ROLES, [str(tmp_path / "data")], [], 0.1, 0, Access())
    assert found.held_out is not None
    assert found.train.labels is not None
    assert found.held_out.labels is not None
    assert found.train.labels.tolist() == [0, 1, 2, 2]
    assert found.held_out.labels.tolist() == [1, 2]
    judged, _ = to_evaluate(
        layout_of("classes").ROLES, [str(tmp_path / "data")], "auto", frozenset(), Access(), found.train.classes
    )
    assert judged.labels is not None
    assert judged.labels.tolist() == [1, 2]
    with pytest.raises(DataError, match="the folder cat is a class that was not trained on; there are ape, bee"):
        to_evaluate(layout_of("classes").ROLES, [str(tmp_path / "data")], "auto", frozenset(), Access(), ["ape", "bee"])


def test_held_out_pictures_without_a_part_to_train_on_are_refused(tmp_path: Path) -> None:
    data = folders(tmp_path / "data", val=2, pictures=2)
    with pytest.raises(DataError, match="has val and no train"):
        split(layout_of("pictures").ROLES, [data], [], 0.1, 0, Access())


def test_a_table_is_a_part_by_its_whole_first_word(tmp_path: Path) -> None:
    for name in ("train-0.parquet", "train-1.parquet", "values.parquet", "validation.parquet"):
        (tmp_path / name).touch()
    parts = parts_of(str(tmp_path), Access())
    assert [parts[role].rpartition("/")[2] for role in ("train", "held_out")] == [
        "train[-_.0-9]*.parquet",
        "validation.parquet",
    ]


def test_one_table_among_shards_of_its_name_is_refused(tmp_path: Path) -> None:
    for name in ("train.parquet", "train-1.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="and 1 more tables of that name"):
        parts_of(str(tmp_path), Access())


def test_a_metric_that_is_no_number_is_never_the_best_nor_on_the_card(pictures: str, tmp_path: Path) -> None:
    made = train(plan_of(pictures, tmp_path / "out"))
    best = made.progress.best
    assert best is not None
    made._judge({"negative_elbo": float("nan"), "elbo": 1.0})
    assert (made.progress.best, made.progress.since_best) == (best, 1)
    made.progress.best = None
    made._judge({"negative_elbo": float("nan"), "elbo": 1.0})
    assert made.progress.best is None
    assert "negative_elbo" not in checkpoints.load_from_store(str(tmp_path / "out"), Access())[1].metrics
    made._judge({"negative_elbo": 5.0})
    assert made.progress.best == 5.0


def test_facts_that_settings_stand_for_are_on_the_card(pictures: str, tmp_path: Path) -> None:
    made = train(plan_of(pictures, tmp_path / "out"))
    made.progress.prepared = {"latent_size": 7, "stranger": 1}
    settings = made.card().settings
    assert settings["latent_size"] == 7
    assert "stranger" not in settings
