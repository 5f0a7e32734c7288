"""What the workers of a training get and need follows from the recipe file, the data and the machine, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.jobs.training.plan import plan_training, pool_of, scale_of
from pixelmill.jobs.training.spec import TrainRun
from pixelmill.jobs.versions import versions
from pixelmill.pipelines.placement import Node
from pixelmill.pipelines.training.initial import InitialWeights
from pixelmill.pipelines.training.marks import are_marked
from pixelmill.workers.errors import DataError, JobError, ModelError, NoRoom
from tests.support import pictures

MACHINE = Machine(8, 0, 1 << 34)
SMALL = ("batch=2", "latent_size=3", "hidden=16", "size_px=8")


def run(**keys: object) -> TrainRun:
    return TrainRun.model_validate(keys)


def job(data: Path, out: Path, *overrides: str) -> TrainJob:
    text = f"recipe: vae\ndata: {data}\nout: {out}\n"
    return read_recipe_file(text, name="vae.yaml", overrides=[*SMALL, *overrides], environment={})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    pictures(tmp_path / "photos", 12, size=(16, 16))
    return tmp_path / "photos"


@pytest.mark.parametrize(("workers", "threads"), [(1, 8), (3, 2), (6, 1)])
def test_workers_share_the_cores_of_this_machine_and_a_ray_of_its_own_counts_those_that_read_too(
    workers: int, threads: int
) -> None:
    planned = run(workers=workers)
    cpus = pool_of(planned, MACHINE).total_cpus
    group = scale_of(planned, MACHINE, [Node({"CPU": cpus})], is_cluster=False)
    assert (group.workers, group.threads, group.gpus) == (workers, threads, 0.0)
    assert cpus == workers + MACHINE.cores


def test_on_a_cluster_a_worker_has_the_one_cpu_that_it_asks_for_unless_the_file_says_more() -> None:
    nodes = [Node({"CPU": 64.0})]
    assert scale_of(run(workers=2), MACHINE, nodes, is_cluster=True).threads == 1
    assert scale_of(run(workers=2, threads=5), MACHINE, nodes, is_cluster=True).threads == 5


@pytest.mark.parametrize(
    ("keys", "nodes", "lack"),
    [
        ({"workers": 3}, [{"CPU": 3.0}], "4 times 1 CPU are needed, and there is room for 3 on 1 node: .*"),
        (
            {"workers": 2, "num_gpus": 1},
            [{"CPU": 64.0, "GPU": 1.0}],
            "2 times 1 CPU with 1 GPU and one more CPU are needed, and there is room for 1 on 1 node: .*",
        ),
        ({"workers": 1, "num_gpus": 1}, [{"CPU": 64.0}, {"GPU": 1.0}], "1 times .* room for 0 on 2 nodes: .*"),
    ],
)
def test_workers_that_can_not_be_placed_with_those_who_read_for_them_are_refused_in_figures(
    keys: dict[str, object], nodes: list[dict[str, float]], lack: str
) -> None:
    with pytest.raises(JobError, match=rf"run: \d workers?, and a CPU to read .* can't be placed: {lack}; lower"):
        scale_of(run(**keys), MACHINE, [Node(each) for each in nodes], is_cluster=True)


def test_workers_are_planned_for_nodes_that_an_autoscaling_cluster_may_start() -> None:
    head, group = [Node({"CPU": 1.0})], {"max": 4, "cpus": 8, "gpus": 1}
    planned = run(workers=4, node_groups=[group])
    assert scale_of(planned, MACHINE, head, is_cluster=True).gpus == 1.0
    with pytest.raises(NoRoom, match=r"5 workers, .* can't be placed: .* run\.node_groups"):
        scale_of(run(workers=5, num_gpus=1, node_groups=[group]), MACHINE, head, is_cluster=True)
    with pytest.raises(NoRoom):
        scale_of(run(workers=4, node_groups=[group]), MACHINE, head, is_cluster=False)


@pytest.mark.parametrize(
    ("gpus", "is_cluster", "expected"), [(2.0, True, 1.0), (1.0, True, 0.0), (0.0, True, 0.0), (2.0, False, 1.0)]
)
def test_each_worker_takes_a_gpu_where_there_is_one_for_each(gpus: float, is_cluster: bool, expected: float) -> None:
    machine = Machine(8, 0 if is_cluster else int(gpus), 1 << 34)
    group = scale_of(run(workers=2), machine, [Node({"CPU": 64.0, "GPU": gpus})], is_cluster=is_cluster)
    assert group.gpus == expected
    assert scale_of(run(num_gpus=0), machine, [Node({"CPU": 64.0, "GPU": gpus})], is_cluster=is_cluster).gpus == 0


def test_a_plan_says_what_is_trained_on_what_is_held_out_and_with_which_code(photos: Path, tmp_path: Path) -> None:
    planned = plan_training(job(photos, tmp_path / "out", "hold_out=3", "run.cache_gb=0.5"), "/out")
    plan = planned.plan
    assert (len(plan.train), len(plan.held_out or ())) == (9, 3)
    assert plan.trained_on == tuple(sorted(set(plan.train.fingerprints())))
    assert plan.held_out is not None
    assert set(plan.selected_on) == set(plan.held_out.fingerprints())
    assert not set(plan.trained_on) & set(plan.selected_on)
    assert (plan.recipe, plan.data, plan.out, plan.cache_bytes) == ("vae", "photos", "/out", 500_000_000)
    assert plan.settings["batch"] == 2
    assert plan.versions == versions()
    assert planned.notes == plan.train.says()
    assert not (tmp_path / "out").exists()


def test_the_only_other_part_of_a_data_set_tests_and_every_part_is_marked_but_that_one(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 3)):
        pictures(tmp_path / "set" / part, count, size=(16, 16))
    plan = plan_training(job(tmp_path / "set", tmp_path / "out", "data_name=mine", "hold_out=2"), "/out").plan
    assert plan.held_out is not None
    assert plan.test is not None
    assert (len(plan.train), len(plan.held_out), len(plan.test)) == (4, 2, 3)
    assert all(are_marked(plan.train, plan.trained_on))
    assert all(are_marked(plan.held_out, plan.selected_on))
    assert not any(are_marked(plan.test, {*plan.trained_on, *plan.selected_on}))
    assert plan.data == "mine"


def test_a_training_that_began_without_a_test_part_is_resumed_without_one(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 3)):
        pictures(tmp_path / "set" / part, count, size=(16, 16))
    plan = plan_training(job(tmp_path / "set", tmp_path / "out"), "/out", 1).plan
    assert (len(plan.train), len(plan.held_out or ()), plan.test) == (6, 3, None)


@pytest.mark.parametrize("part", ["train", "val"])
def test_unusable_data_is_found_before_anything_starts_also_what_is_held_out(tmp_path: Path, part: str) -> None:
    for name in ("train", "val"):
        pictures(tmp_path / "set" / name, 4, size=(16, 16))
    broken, *others = sorted((tmp_path / "set" / part).iterdir())
    for picture in (broken, *others):
        picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match=broken.name):
        plan_training(job(tmp_path / "set", tmp_path / "out"), "/out")


def test_masks_of_black_and_white_beside_their_pictures_are_planned_with_notes_on_both(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"cells/{number}.jpg")
        mask = Image.new("L", (32, 32))
        mask.paste(255, (0, 0, 16, 16))
        mask.save(tmp_path / f"cells/{number}_mask.png")
    text = f"recipe: unet\ndata: {tmp_path}/cells\nout: {tmp_path}/out\n"
    settings = ["base=2", "levels=2", "hold_out=2"]
    planned = plan_training(read_recipe_file(text, name="unet", overrides=settings, environment={}), "out")
    pairing, colours = planned.notes
    assert pairing == "each picture NAME is paired with its mask NAME_mask"
    assert colours.startswith("masks are black and white: 0 is the first class and 255 the second")


def test_elastic_workers_need_room_for_the_fewest_and_a_batch_for_each_number(photos: Path, tmp_path: Path) -> None:
    elastic = run(workers={"min": 2, "max": 4})
    group = scale_of(elastic, MACHINE, [Node({"CPU": 3.0})], is_cluster=True)
    assert (group.workers, group.least) == (4, 2)
    with pytest.raises(JobError, match="2 workers, and a CPU"):
        scale_of(elastic, MACHINE, [Node({"CPU": 2.0})], is_cluster=True)
    assert scale_of(run(workers=3), MACHINE, [Node({"CPU": 64.0})], is_cluster=True).least == 3
    with pytest.raises(JobError, match="batch is 8: it has to be a multiple of workers x accumulate, 3 x 1"):
        plan_training(job(photos, tmp_path / "out", "batch=8", "run.workers={min: 1, max: 4}", "hold_out=3"), "/out")


def test_only_a_new_training_reads_the_checkpoint_that_it_begins_with(photos: Path, tmp_path: Path) -> None:
    made = replace(job(photos, tmp_path / "out"), initial=InitialWeights(str(tmp_path / "gone"), "gone", "vae", ""))
    assert plan_training(made, str(tmp_path / "out"), is_new=False).plan.initial == made.initial
    with pytest.raises(ModelError, match=r"gone.*no such"):
        plan_training(made, str(tmp_path / "out"))


def test_samples_that_the_initial_weights_were_trained_on_are_marked_too(photos: Path, tmp_path: Path) -> None:
    before = InitialWeights("gone", "gone", "vae", "", trained_on=("mark",))
    made = replace(job(photos, tmp_path / "out"), initial=before)
    marked = plan_training(made, str(tmp_path / "out"), is_new=False).plan.trained_on
    plain = plan_training(job(photos, tmp_path / "out"), str(tmp_path / "out")).plan.trained_on
    assert set(marked) == {"mark", *plain}


def test_held_out_samples_that_the_initial_weights_were_trained_on_are_reported(photos: Path, tmp_path: Path) -> None:
    plain = plan_training(job(photos, tmp_path / "out", "hold_out=3"), str(tmp_path / "out")).plan
    before = InitialWeights("gone", "prior", "vae", "", trained_on=(*plain.trained_on, plain.selected_on[0]))
    made = replace(job(photos, tmp_path / "out", "hold_out=3"), initial=before)
    notes = " ".join(plan_training(made, str(tmp_path / "out"), is_new=False).notes)
    assert (
        "init_from prior: was trained on 1 of the 3 samples that are held out: figures on these are too good" in notes
    )
    harmless = replace(made, initial=replace(before, trained_on=plain.trained_on))
    assert "too good" not in " ".join(plan_training(harmless, str(tmp_path / "out"), is_new=False).notes)
