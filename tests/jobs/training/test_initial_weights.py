"""`init_from`: the settings that a checkpoint decides, and what it may not be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelmill.jobs.training.initial_weights import STORED, initialised, keep_initial
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.pipelines.outputs.claims import ClaimedFolder
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, ModelError


def job(recipe: str, init_from: str, *overrides: str) -> TrainJob:
    text = f"recipe: {recipe}\ndata: x\nout: y\n"
    return read_recipe_file(text, name="f", overrides=[f"init_from={init_from}", *overrides], environment={})


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), Access())


@pytest.mark.parametrize(
    ("recipe", "name", "expected"),
    [
        ("unet", "unet-camvid", {"base": 16, "padding": "same", "batch_norm": True, "dropout": 0.1}),
        ("fcn", "fcn8s-camvid", {"width": 24, "fc_width": 128, "vgg_convention": "torchvision"}),
        ("segnet", "segnet-camvid", {"width": 24, "vgg_convention": "torchvision"}),
        ("monodepth", "monodepth-kitti", {"width": 10, "height_px": 128, "width_px": 256}),
        ("vdsr", "vdsr-t91", {"depth": 12, "width": 32}),
        ("vae", "vae-mnist", {"latent_size": 20}),
        ("autoencoder", "autoencoder-photos", {"size_px": 128, "code_channels": 16}),
        ("crn", "crn-facades", {"start_px": (4, 4), "outputs": 1}),
        ("faststyle", "faststyle-wave", {"width": 16}),
    ],
)
def test_the_network_is_that_of_the_checkpoint_without_a_word(
    out: Folder, recipe: str, name: str, expected: dict[str, object]
) -> None:
    needed = {"crn": ["vgg=v"], "faststyle": ["vgg=v", "style=s"]}.get(recipe, [])
    begun = initialised(job(recipe, name, *needed), out)
    assert begun.initial is not None
    assert begun.initial.name == name
    assert {key: getattr(begun.settings, key) for key in expected} == expected
    assert begun.settings.learning_rate == job(recipe, name, *needed).settings.learning_rate


def test_what_the_user_sets_beside_the_network_stays(out: Folder) -> None:
    begun = initialised(job("unet", "unet-camvid", "dropout=0.4", "steps=7", "optimizer=adamw"), out)
    assert (begun.settings.dropout, begun.settings.steps, begun.settings.optimizer) == (0.4, 7, "adamw")


def test_settings_of_another_network_than_the_checkpoints_are_refused_by_name(out: Folder) -> None:
    with pytest.raises(JobError, match=r"its unet is another .*: base: 16 there, 32 here; leave these settings out"):
        initialised(job("unet", "unet-camvid", "base=32", "padding=same"), out)


def test_another_network_is_refused_with_both_names_and_what_to_take(out: Folder) -> None:
    said = r"init_from unet-camvid: holds the network unet, and recipe segnet trains segnet; .*segnet-camvid, or train unet"
    with pytest.raises(JobError, match=said):
        initialised(job("segnet", "unet-camvid"), out)
    with pytest.raises(ModelError, match=r"no such checkpoint.*did you mean unet-camvid"):
        initialised(job("unet", "unet-camvit"), out)


def test_fine_tuning_takes_the_encoder_by_the_same_key(out: Folder) -> None:
    begun = initialised(job("finetune", "autoencoder-photos"), out)
    assert begun.settings.checkpoint == "autoencoder-photos"
    assert begun.initial is None
    with pytest.raises(JobError, match=r"init_from and settings\.checkpoint contradict each other"):
        job("finetune", "autoencoder-photos", "checkpoint=unet-camvid")
    with pytest.raises(JobError, match=r"init_from and settings\.scratch contradict"):
        job("finetune-dense", "autoencoder-photos", "scratch=true")


def test_published_weights_begin_the_trunk_of_a_network_that_has_one(out: Folder) -> None:
    name = "torchvision:VGG16_Weights.IMAGENET1K_V1"
    begun = initialised(job("fcn", name), out)
    assert begun.settings.vgg == name
    assert begun.initial is None
    with pytest.raises(JobError, match=r"init_from: torchvision:.* is no unet; take a checkpoint of one"):
        job("unet", name)
    with pytest.raises(JobError, match="timm:resnet18 is no fcn"):
        job("fcn", "timm:resnet18")
    with pytest.raises(JobError, match=r"init_from and settings\.vgg contradict"):
        job("fcn", "fcn8s-camvid", f"vgg={name}")


def test_a_resumed_training_takes_its_network_from_its_folder(out: Folder, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    source = tmp_path / "weights/mine.safetensors"
    zoo = Path(__file__).parents[3] / "workers/zoo"
    source.write_bytes((zoo / "vdsr-t91.safetensors").read_bytes())
    source.with_suffix(".json").write_bytes((zoo / "vdsr-t91.json").read_bytes())
    first = initialised(job("vdsr", str(source)), out)

    class Unclaimed(ClaimedFolder):
        def __init__(self) -> None:
            Folder.__init__(self, out.uri, out.access)

        def create(self, name: str, data: bytes) -> bool:
            return out.create(name, data)

    keep_initial(first, Unclaimed())
    source.unlink()
    again = initialised(job("vdsr", str(source)), out)
    assert again.initial == first.initial
    assert again.settings == first.settings
    assert again.identity() == first.identity()
    assert first.identity()["init_from"] == str(source)
    assert json.loads(out.read(STORED) or b"{}")["name"] == "mine"


def test_a_training_without_it_is_the_same_as_before(out: Folder) -> None:
    plain = read_recipe_file("recipe: vae\ndata: x\nout: y\n", name="f", overrides=[], environment={})
    assert initialised(plain, out) is plain
    assert "init_from" not in plain.identity()
