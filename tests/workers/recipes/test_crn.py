"""The recipe of cascaded refinement: distances in hindsight, layouts and photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_jpeg, encode_png, encode_png_palette
from pixelmill.workers.drawn_classes import FACADES, VOID
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.losses.hindsight import feature_distances
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.crn import CrnRecipe, CrnSettings, LabelledCrnRecipe, LabelledCrnSettings
from pixelmill.workers.recipes.layout_labels import class_ids
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.recipes.scoring import evaluate
from tests.learning import assert_seeded, descend, learn
from tests.shared_data import SHARED_DATA
from tests.workers.facades import built

COLOURS_K3 = np.array(list(FACADES.values()), np.uint8)
K = len(FACADES)


def block_ids(height: int, width: int, seed: int) -> np.ndarray:
    """Ids in cells of 8 pixels, as JPEG keeps them."""
    cells = np.random.default_rng(seed).integers(0, 12, (height // 8, width // 8), np.uint8)
    return cells.repeat(8, 0).repeat(8, 1)


def facade(seed: int = 0, height: int = 32, width: int = 32) -> bytes:
    """A JPEG with a photograph, here a picture of the layout in other colours, on the left of its layout."""
    ids_HW = block_ids(height, width, seed)
    both_HWC = np.concatenate([255 - COLOURS_K3[ids_HW] // 2, COLOURS_K3[ids_HW]], 1)
    return encode_jpeg(torch.from_numpy(both_HWC).permute(2, 0, 1), quality=95)


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights in the Caffe format, four channels wide."""
    path = tmp_path_factory.mktemp("crn") / "vgg.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = Vgg(VggConfig(width=4)).convolutions.state_dict()
    save_file({f"block{key[4]}_conv{key[6:]}": tensor for key, tensor in state.items()}, path)
    return {"vgg": path}


def recipe(assets: dict[str, Path], **settings: object) -> CrnRecipe:
    small = {"start_px": (4, 4), "widths": (16, 16, 16, 8), "batch": 2}
    return CrnRecipe(CrnSettings(vgg="vgg", **{**small, **settings}), assets)


def prepared(assets: dict[str, Path], **settings: object) -> CrnRecipe:
    made = recipe(assets, **settings)
    made.prepare(facades(made, 4))
    return made


def facades(recipe: CrnRecipe, count: int = 3) -> list[Sample]:
    return [recipe.decode({"image": facade(seed)}) for seed in range(count)]


def test_layers_are_weighed_so_that_each_tells_two_photographs_apart_by_the_same(assets: dict[str, Path]) -> None:
    made = recipe(assets)
    samples = facades(made, 2)
    weights = made.prepare(samples)["layer_weights"]
    photos = [torch.from_numpy(sample["photo"]).permute(2, 0, 1)[None] / 255 for sample in samples]
    vgg = made.vgg()
    maps = feature_distances(vgg, photos[0][None], photos[1])
    shares = [weight * float(map_BOHW.mean()) for weight, map_BOHW in zip(weights, maps, strict=True)]
    assert shares == pytest.approx([1 / 6] * 6, rel=1e-4)


def test_weights_are_kept_with_a_checkpoint_and_losses_need_them(assets: dict[str, Path]) -> None:
    first = prepared(assets)
    kept = json.loads(json.dumps(first.prepare([])))
    resumed = recipe(assets)
    network, batch = built(resumed.config), first.batch(facades(first), np.random.default_rng(0))
    with pytest.raises(ModelError, match="prepare"):
        resumed.losses(network, batch)
    resumed.restore(kept)
    assert torch.equal(resumed.losses(network, batch)["loss"], first.losses(network, batch)["loss"])
    given = recipe(assets, layer_weights=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    assert given.prepare([])["layer_weights"] == [1, 2, 3, 4, 5, 6]


def test_the_recipe_is_found_by_name_and_has_the_papers_defaults() -> None:
    assert recipe_type("crn") is CrnRecipe
    settings = CrnSettings(vgg="vgg")
    assert (settings.learning_rate, settings.batch, settings.epochs, settings.start_px) == (1e-4, 1, 200, (4, 8))


@pytest.mark.parametrize("quality", [60, 95])
def test_the_colours_of_a_jpeg_are_snapped_to_their_classes(quality: int) -> None:
    ids_HW = block_ids(64, 64, 0)
    assert set(ids_HW.ravel()) == set(range(12))
    jpeg = encode_jpeg(torch.from_numpy(COLOURS_K3[ids_HW]).permute(2, 0, 1), quality=quality)
    read_HWC = decode_picture(jpeg).permute(1, 2, 0).numpy()
    assert not np.array_equal(read_HWC, COLOURS_K3[ids_HW])
    read_HW = class_ids(read_HWC, FACADES, "it")
    assert (read_HW == ids_HW)[2::8, 2::8].all()
    assert (read_HW == ids_HW).mean() > 0.8


def test_the_photograph_is_on_the_left_and_its_layout_on_the_right(assets: dict[str, Path]) -> None:
    sample = recipe(assets).decode({"image": facade(0)})
    assert sample["photo"].shape == (32, 32, 3)
    assert sample["photo"].dtype == sample["layout"].dtype == np.uint8
    expected_HW = block_ids(32, 32, 0)
    assert (sample["layout"] == expected_HW)[3::8, 3::8].all()
    assert np.abs(sample["photo"][3::8, 3::8].astype(int) - (255 - COLOURS_K3[expected_HW] // 2)[3::8, 3::8]).max() < 60


def test_files_of_another_size_are_set_to_the_networks_and_odd_ones_are_refused(assets: dict[str, Path]) -> None:
    sample = recipe(assets, widths=(16, 16, 8)).decode({"image": facade(0)})
    assert sample["photo"].shape == (16, 16, 3)
    assert np.array_equal(sample["layout"][1::4, 1::4], block_ids(32, 32, 0)[4::8, 4::8])
    with pytest.raises(DataError, match="15 pixels wide"):
        recipe(assets).decode({"image": encode_png(np.zeros((8, 15, 3), np.uint8))})
    with pytest.raises(DataError, match="colours"):
        recipe(assets).decode({"image": encode_png(np.full((8, 16, 3), 128, np.uint8))})
    with pytest.raises(DataError, match=r"signature|text"):
        recipe(assets).decode({"image": b"no picture at all"})


def test_photo_and_layout_are_mirrored_and_cropped_together(assets: dict[str, Path]) -> None:
    made = recipe(assets, smallest_crop=0.5)
    ids_HW = block_ids(32, 32, 0)
    sample = {"photo": COLOURS_K3[ids_HW], "layout": ids_HW}
    random = np.random.default_rng(0)
    batch = made.batch([sample] * 20, random)
    snapped_BHW = torch.from_numpy(
        np.stack([class_ids(photo.permute(1, 2, 0).numpy(), FACADES, "it") for photo in batch["photos"]])
    )
    agree_B = (snapped_BHW == batch["layouts"]).float().mean((1, 2))
    assert agree_B.min() > 0.6
    assert agree_B.mean() > 0.75
    assert len(batch["layouts"].unique(dim=0)) > 10


def test_the_augmentation_of_a_sample_does_not_depend_on_its_batch(assets: dict[str, Path]) -> None:
    for settings in ({}, {"smallest_crop": 0.7}, {"flip": False}):
        made = recipe(assets, **settings)
        samples = facades(made)
        together, one_by_one = np.random.default_rng(3), np.random.default_rng(3)
        batch = made.batch(samples, together)
        alone = [made.batch([sample], one_by_one) for sample in samples]
        assert torch.equal(batch["photos"], torch.cat([one["photos"] for one in alone]))
        assert torch.equal(batch["layouts"], torch.cat([one["layouts"] for one in alone]))
        expected = np.random.default_rng(3)
        expected.random(4 * len(samples))
        assert together.random() == one_by_one.random() == expected.random()


@pytest.mark.parametrize("settings", [{"loss": "perceptual"}, {"loss": "l2"}, {"outputs": 2}])
def test_one_batch_is_learned_by_heart(assets: dict[str, Path], settings: dict[str, object]) -> None:
    made = prepared(assets, learning_rate=1e-2, flip=False, **settings)
    network, samples = built(made.config), facades(made, 2)
    batch = made.batch(samples, np.random.default_rng(0))
    losses = descend(made.optimizer(network), lambda: made.losses(network, batch)["loss"], steps=60)
    assert losses[-1] < 0.5 * losses[0]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(assets: dict[str, Path]) -> None:
    assert_seeded(recipe(assets).network)


class Oracle(nn.Module):
    """A network that has seen the photographs, and may blur them."""

    def __init__(self, photos_BCHW: Tensor, blur_px: int = 1) -> None:
        super().__init__()
        self.a_parameter = nn.Parameter(torch.zeros(1))
        self.made_BCHW = F.avg_pool2d(photos_BCHW, blur_px, 1, padding=blur_px // 2, count_include_pad=False)

    def forward(self, layouts_BKHW: Tensor) -> Tensor:
        return self.made_BCHW[: len(layouts_BKHW), None]


def test_the_photographs_themselves_are_perfect_and_a_blur_of_them_is_less_sharp(assets: dict[str, Path]) -> None:
    judged = prepared(assets, batch=3)
    samples = facades(judged)
    photos_BCHW = torch.from_numpy(np.stack([sample["photo"] for sample in samples])).permute(0, 3, 1, 2) / 255
    perfect, blurred = (evaluate(judged, Oracle(photos_BCHW, blur_px), samples) for blur_px in (1, 5))
    assert perfect == pytest.approx({"perceptual_loss": 0, "l2": 0, "sharpness": 1}, abs=1e-5)
    assert blurred["sharpness"] < 0.8
    assert blurred["l2"] > 0
    assert 0 < blurred["perceptual_loss"] < 1


def test_its_baselines_are_judged_as_a_network_is(assets: dict[str, Path]) -> None:
    judged = prepared(assets, batch=2)
    samples = facades(judged)
    found = judged.baselines(samples)
    assert list(found) == ["every class in its mean colour", "the photograph, blurred by 2 px"]
    flat, blurred = found.values()
    photos_BCHW = torch.from_numpy(np.stack([sample["photo"] for sample in samples])).permute(0, 3, 1, 2) / 255
    smoothed = evaluate(prepared(assets, batch=3), Oracle(photos_BCHW, blur_px=5), samples)
    assert flat.keys() == blurred.keys() == smoothed.keys()
    assert 0 < blurred["l2"] < 0.1
    assert 0 < flat["l2"] < 0.1


def test_metrics_are_means_over_samples_whatever_the_batch(assets: dict[str, Path]) -> None:
    judged = prepared(assets, outputs=2)
    network, samples = built(judged.config).eval(), facades(judged, 5)
    results = []
    for batch in (1, 2, 5):
        other = recipe(assets, outputs=2, batch=batch, layer_weights=judged.layer_weights)
        with torch.inference_mode():
            results.append(evaluate(other, network, samples))
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    assert results[2] == pytest.approx(results[0], rel=1e-4)


def test_losses_call_the_network_once_and_stay_in_float32_after_an_evaluation(assets: dict[str, Path]) -> None:
    trained = prepared(assets)
    network = built(trained.config)
    with torch.inference_mode():
        evaluate(trained, network, facades(trained))
    calls: list[object] = []
    network.register_forward_hook(lambda *_: calls.append(None))
    with torch.autocast("cpu", torch.bfloat16):
        loss = trained.losses(network, trained.batch(facades(trained), np.random.default_rng(0)))["loss"]
    loss.backward()
    assert len(calls) == 1
    assert loss.dtype == torch.float32


def test_the_sheet_shows_layouts_every_output_and_the_photographs(assets: dict[str, Path]) -> None:
    shown = recipe(assets, outputs=2)
    with torch.inference_mode():
        sheet_CHW = shown.pictures(built(shown.config).eval(), facades(shown))
    assert sheet_CHW.dtype == torch.uint8
    assert sheet_CHW.shape[0] == 3
    assert sheet_CHW.shape[1] >= 4 * 32
    assert sheet_CHW.shape[2] >= 3 * 32


# -------------------------------------------------------------------------------------------- layouts of label files

GARDEN = {"lawn": (0, 200, 0), "path": (200, 200, 200), "pond": (10, 90, 90)}


def garden(seed: int, *, classes: bytes | None = None) -> dict[str, bytes]:
    """A photograph of three classes, one with texture, and its label file with a frame of the id 9, which is none."""
    random = np.random.default_rng(seed)
    ids_HW = np.kron(random.integers(0, 3, (4, 4), np.uint8), np.ones((8, 8), np.uint8))
    photo_HWC = np.array([(60, 140, 60), (150, 140, 130), (40, 60, 120)], np.uint8)[ids_HW]
    photo_HWC += random.integers(0, 20, photo_HWC.shape, np.uint8)
    ids_HW[:2] = 9
    named = {"classes": list(GARDEN), "colours": list(GARDEN.values()), "ignore_index": 9}
    return {
        "image": encode_png(photo_HWC),
        "label": encode_png_palette(ids_HW, [(level, 0, 0) for level in range(10)]),
        "classes": json.dumps(named).encode() if classes is None else classes,
    }


def labelled(assets: dict[str, Path], **settings: object) -> LabelledCrnRecipe:
    small = {"start_px": (4, 4), "widths": (16, 16, 16, 8), "batch": 4, "learning_rate": 0.01}
    return LabelledCrnRecipe(LabelledCrnSettings(vgg="vgg", **{**small, **settings}), assets)


def test_the_classes_of_label_files_are_found_kept_and_stated(assets: dict[str, Path]) -> None:
    made = labelled(assets)
    with pytest.raises(ModelError, match="which classes there are is not known yet"):
        made.network()
    facts = made.prepare([made.decode(garden(seed)) for seed in range(3)])
    assert made.network().config.classes == 3
    assert made.classes() == Classes(tuple(GARDEN), tuple(GARDEN.values()))
    resumed = labelled(assets)
    resumed.restore(json.loads(json.dumps(facts)))
    assert resumed.palette == GARDEN
    assert labelled(assets, palette=facts["palette"]).palette == GARDEN  # as a card keeps it


def test_pixels_of_no_class_have_no_loss(assets: dict[str, Path]) -> None:
    made = labelled(assets, loss="l2", flip=False)
    sample = made.decode(garden(0))
    made.see([sample])
    network = built(made.config)
    other = sample | {"photo": sample["photo"].copy()}
    other["photo"][:2] = 255
    first, second = (
        made.losses(network, made.batch([each], np.random.default_rng(0)))["loss"] for each in (sample, other)
    )
    assert (sample["layout"][:2] == VOID).all()
    assert torch.equal(first, second)


def test_the_sheet_shows_layouts_in_the_colours_of_the_data(assets: dict[str, Path]) -> None:
    made = labelled(assets)
    samples = [made.decode(garden(seed)) for seed in range(2)]
    made.see(samples)
    sheet_CHW = made.pictures(built(made.config).eval(), samples)
    shown = {tuple(colour) for colour in sheet_CHW[:, 4:34, 2:34].flatten(1).T.tolist()}
    assert shown <= set(GARDEN.values())


def test_side_by_side_layouts_of_other_colours_are_learned_with_a_palette(assets: dict[str, Path]) -> None:
    ids_HW = np.kron(np.arange(3, dtype=np.uint8).repeat(3).reshape(3, 3), np.ones((8, 8), np.uint8))
    drawn_HWC = np.array(list(GARDEN.values()), np.uint8)[ids_HW]
    both = encode_png(np.concatenate([drawn_HWC, drawn_HWC], 1))
    made = recipe(assets, palette=GARDEN)
    assert set(np.unique(made.decode({"image": both})["layout"])) == {0, 1, 2}
    assert made.network().config.classes == 3
    with pytest.raises(DataError, match="its right half has not the colours of the classes"):
        recipe(assets).decode({"image": both})


def test_a_small_network_learns_the_layouts_of_label_files(assets: dict[str, Path]) -> None:
    made = labelled(assets, steps=30, loss="l2")
    samples = [made.decode(garden(seed)) for seed in range(6)]
    made.prepare(samples)
    seen: list[float] = []
    learn(made, samples, lambda _, losses: seen.append(losses["loss"]))
    assert np.mean(seen[-5:]) < 0.6 * np.mean(seen[:2])


@pytest.mark.shared_data
def test_street_scenes_are_learned_from_their_label_maps(assets: dict[str, Path]) -> None:
    """CamVid: eleven classes and void, named in classes.json without colours."""
    folder = SHARED_DATA / "camvid" / "train"
    classes = (SHARED_DATA / "camvid" / "classes.json").read_bytes()
    names = sorted(path.stem for path in (folder / "labels").glob("*.png"))[::60]
    made = labelled(assets, start_px=(3, 4), steps=30, loss="l2")
    samples = [
        made.decode(
            {
                "image": (folder / "images" / f"{name}.jpg").read_bytes(),
                "label": (folder / "labels" / f"{name}.png").read_bytes(),
                "classes": classes,
            }
        )
        for name in names
    ]
    made.prepare(samples)
    assert (len(made.palette), made.palette["road"]) == (11, (128, 64, 128))
    seen: list[float] = []
    learn(made, samples, lambda _, losses: seen.append(losses["loss"]))
    assert np.mean(seen[-5:]) < 0.6 * np.mean(seen[:2])


def test_the_loss_network_pools_as_the_settings_say(assets: dict[str, Path]) -> None:
    for pooling in ("max", "average"):
        assert recipe(assets, vgg_pooling=pooling).vgg().config.pooling == pooling
