"""Outputs have the size of their pictures, whole or in tiles, independent of the other pictures in a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import RowError
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.prediction.dense import DensePrediction
from pixelmill.workers.runtime.agreement import Decibels
from pixelmill.workers.runtime.settings import Pins, Settings
from pixelmill.workers.runtime.tuned import TunedNetwork
from tests.workers.prediction.predictions import ANY_SIZE, PLAIN, model_of, predicting, run

SIZES = ((1, 1), (1, 300), (300, 1), (37, 64), (64, 37), (128, 96))


class Identity(nn.Module):
    """The pictures, enlarged by repetition; records its inputs."""

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.seen: list[tuple[int, ...]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Identity:
        return self

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.seen.append(tuple(images_BCHW.shape))
        return images_BCHW.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def dense(module: nn.Module, facts: SizeFacts = ANY_SIZE, **options: Any) -> DensePrediction:
    return predicting(model_of(module, facts), **options)


@pytest.mark.parametrize(
    "facts", [ANY_SIZE, SizeFacts(multiple_px=32), SizeFacts(multiple_px=8, least_px=100)], ids=repr
)
def test_pictures_of_any_size_come_back_as_they_were(facts: SizeFacts) -> None:
    pictures = [picture(*size) for size in SIZES]
    module = Identity()
    for given_CHW, made_CHW in zip(pictures, run(dense(module, facts), *pictures), strict=True):
        torch.testing.assert_close(made_CHW * 255, given_CHW.float())
    assert all(side % facts.multiple_px == 0 and side >= facts.least_px for shape in module.seen for side in shape[2:])


def test_padding_mirrors_the_picture_and_repeats_its_last_pixel_where_it_is_too_small() -> None:
    padded: list[Tensor] = []

    class Recorder(Identity):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            padded.append((images_BCHW * 255).round())
            return images_BCHW

    pixels_CHW = torch.arange(5, dtype=torch.uint8).view(1, 1, 5).expand(3, 2, 5)
    run(dense(Recorder(), SizeFacts(multiple_px=8)), pixels_CHW)
    assert padded[-1][0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert padded[-1].shape == (1, 3, 8, 8)
    run(dense(Recorder(), SizeFacts(multiple_px=8)), pixels_CHW[:, :, :3])
    assert padded[-1][0, 0, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]


def test_pictures_of_one_bucket_share_a_batch_and_keep_their_places() -> None:
    module = Identity()
    prediction = dense(module, SizeFacts(multiple_px=32))
    pictures = [picture(60, 60, 0), picture(20, 20, 1), picture(64, 50, 2), picture(32, 7, 3)]
    sized = [prediction.prepare(each) for each in pictures]
    buckets = [prediction.bucket_of(each) for each in sized]
    assert buckets[0] == buckets[2] != buckets[1] == buckets[3]
    for given_CHW, made_CHW in zip(pictures, prediction.run(sized), strict=True):
        torch.testing.assert_close(made_CHW * 255, given_CHW.float())
    assert module.seen == [(2, 3, 64, 64), (2, 3, 32, 32)]


def test_a_resized_picture_is_seen_in_one_size_and_comes_back_in_its_own() -> None:
    module = Identity()
    smooth_CHW = (torch.linspace(0, 150, 200)[:, None] + torch.linspace(0, 100, 300)).round().byte().expand(3, -1, -1)
    for resize_px, seen in ((64, (64, 96)), ((48, 80), (48, 80))):
        (made_CHW,) = run(dense(module, SizeFacts(resize_px=resize_px, multiple_px=16)), smooth_CHW)
        assert module.seen[-1][2:] == seen
        assert made_CHW.shape == smooth_CHW.shape
        assert (made_CHW * 255 - smooth_CHW.float()).abs().max() < 3
    for size in SIZES:
        (made_CHW,) = run(dense(module, SizeFacts(resize_px=64, multiple_px=16)), picture(*size))
        assert made_CHW.shape == (3, *size)
        assert max(module.seen[-1][2:]) <= 8 * 64


def test_outputs_at_a_scale_are_cropped_at_that_scale() -> None:
    pictures = [picture(*size) for size in SIZES]
    for facts in (SizeFacts(scale=3, multiple_px=8), SizeFacts(scale=3, multiple_px=8, reach_px=0, tiling="exact")):
        made = run(dense(Identity(3), facts, most_pixels=2000), *pictures)
        for given_CHW, made_CHW in zip(pictures, made, strict=True):
            assert made_CHW.shape[1:] == (given_CHW.shape[1] * 3, given_CHW.shape[2] * 3)


def test_ids_are_resized_by_the_nearest_and_never_mixed() -> None:
    ids_1HW = torch.zeros(1, 90, 70, dtype=torch.uint8)
    ids_1HW[:, 30:], ids_1HW[:, :, 50:] = 7, 200
    seen: list[Tensor] = []

    class Ids(Identity):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            seen.append(images_BCHW)
            return (images_BCHW * 255).round().to(torch.uint8)

    model = PictureModel("synthesize", Ids(), (0.0,), (1.0,), SizeFacts(resize_px=(32, 64)), "0" * 64)
    (made_1HW,) = run(predicting(model), ids_1HW)
    assert made_1HW.dtype == torch.uint8
    assert set((seen[-1] * 255).round().unique().tolist()) == {0, 7, 200}
    assert set(made_1HW.unique().tolist()) == {0, 7, 200}
    assert (made_1HW == ids_1HW).float().mean() > 0.95


def test_a_vector_for_each_picture_is_left_as_it_is() -> None:
    class Mean(Identity):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            return images_BCHW.mean(dim=(2, 3))

    for facts in (SizeFacts(multiple_px=8), SizeFacts(resize_px=(16, 16))):
        made = run(dense(Mean(), facts), picture(8, 8), picture(30, 20))
        assert [each.shape for each in made] == [(3,), (3,)]


def test_a_map_that_a_network_gives_coarser_is_enlarged_to_the_picture() -> None:
    class Coarse(Identity):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            return nn.functional.avg_pool2d(images_BCHW, 4)

    given_CHW = torch.full((3, 30, 50), 51, dtype=torch.uint8)
    (made_CHW,) = run(dense(Coarse(), SizeFacts(multiple_px=4)), given_CHW)
    torch.testing.assert_close(made_CHW, torch.full((3, 30, 50), 0.2))


def test_the_batch_follows_the_pixels_at_hand() -> None:
    module = Identity()
    prediction = dense(module, most_pixels=1 << 24)
    assert prediction.batch_pixels == 4 * 256 * 256
    run(prediction, *[picture(256, 256, seed) for seed in range(6)])
    run(prediction, *[picture(64, 64, seed) for seed in range(70)])
    run(prediction, *[picture(600, 600, seed) for seed in range(2)])
    assert [shape[0] for shape in module.seen] == [4, 2, 64, 6, 1, 1]
    assert prediction.batch == 64


def test_a_fixed_batch_is_kept_for_every_size() -> None:
    module = Identity()
    prediction = dense(module, batch=3)
    assert (prediction.batch, prediction.batch_pixels) == (3, None)
    run(prediction, *[picture(16, 16, seed) for seed in range(5)])
    assert [shape[0] for shape in module.seen] == [3, 2]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("too many"), RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()],
    ids=["cuda", "cpu", "python"],
)
def test_out_of_memory_halves_what_is_seen_at_once_for_good_and_loses_nothing(error: Exception) -> None:
    class Greedy(Identity):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            if len(images_BCHW) > 2:
                raise error
            return super().forward(images_BCHW)

    module = Greedy()
    prediction = dense(module)
    pictures = [picture(64, 64, seed) for seed in range(9)]
    for _ in range(2):
        for given_CHW, made_CHW in zip(pictures, run(prediction, *pictures), strict=True):
            torch.testing.assert_close(made_CHW * 255, given_CHW.float())
    assert prediction.batch_pixels == 2 * 64 * 64
    assert {shape[0] for shape in module.seen} == {1, 2}


def test_another_error_of_a_batch_is_no_lack_of_memory() -> None:
    class Broken(Identity):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            self.seen.append(tuple(images_BCHW.shape))
            raise RuntimeError("sizes do not fit")

    module = Broken()
    with pytest.raises(RuntimeError, match="sizes do not fit"):
        run(dense(module), picture(64, 64), picture(64, 64))
    assert len(module.seen) == 1


def test_what_has_no_tiles_is_seen_smaller_or_filed_with_its_size() -> None:
    module = Identity()
    made = run(dense(module, most_pixels=10_000), picture(200, 300), picture(1, 20_000))
    assert [each.shape for each in made] == [(3, 200, 300), (3, 1, 20_000)]
    assert all(shape[2] * shape[3] <= 10_000 for shape in module.seen)
    with pytest.raises(RowError, match=r"300 x 200 pixels, and this model takes 10,000 at once") as caught:
        dense(module, most_pixels=10_000, too_large="file").prepare(picture(200, 300))
    assert caught.value.error_type == "TooLarge"


def test_what_is_made_of_each_pixel_is_the_same_of_the_whole_in_tiles_and_resized() -> None:
    def as_ids(scores_CHW: Tensor) -> tuple[Tensor, Tensor]:
        return scores_CHW.argmax(0, keepdim=True).to(torch.uint8), scores_CHW.amax(0, keepdim=True)

    given_CHW = picture(90, 70)
    for facts in (ANY_SIZE, SizeFacts(reach_px=2, tiling="exact"), SizeFacts(resize_px=(128, 128))):
        for most_pixels in (1 << 20, 1000):
            (scores_CHW,) = run(dense(Identity(), facts, most_pixels=most_pixels), given_CHW)
            ((ids_1HW, best_1HW),) = run(dense(Identity(), facts, most_pixels=most_pixels, per_pixel=as_ids), given_CHW)
            assert torch.equal(ids_1HW, as_ids(scores_CHW)[0])
            torch.testing.assert_close(best_1HW, as_ids(scores_CHW)[1])


def test_settings_are_tried_on_pictures_of_one_size_whatever_the_first_ones_are(tmp_path: Path) -> None:
    module = Identity()
    model = model_of(module, SizeFacts(multiple_px=16))
    for size in ((1, 1), (1500, 1500)):
        tuned = TunedNetwork(
            model.network,
            "k",
            base=Settings(),
            pins=Pins(),
            agreement=Decibels(),
            cache_dir=tmp_path / str(size),
            job_images=300,
        )
        prediction = DensePrediction(model, tuned, most_pixels=1 << 24)
        run(prediction, picture(*size))
        assert {shape[2:] for shape in module.seen[:-1]} == {(256, 256)}
        assert prediction.settings["chosen"] == "probed"
        module.seen.clear()


@pytest.mark.parametrize(("side", "source"), [(1500, "probed"), (64, "default")])
def test_a_job_of_few_large_pictures_is_as_much_work_as_one_of_many_small_ones(side: int, source: str) -> None:
    model = model_of(Identity())
    tuned = TunedNetwork(
        model.network, "k", base=PLAIN, pins=Pins(), agreement=Decibels(), cache_dir=None, job_images=10
    )
    prediction = DensePrediction(model, tuned, most_pixels=1 << 24)
    run(prediction, picture(side, side))
    assert prediction.settings["chosen"] == source


# ------------------------------------------------------------------------------------------------------ activations


class Wide(nn.Module):
    """A convolution through `width` channels; records its inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))
        self.seen: list[tuple[int, ...]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Wide:
        return self

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.seen.append(tuple(images_BCHW.shape))
        return self.layers(images_BCHW)


EXACT = SizeFacts(tiling="exact", reach_px=2)


def pixels_at_once(module: Wide, facts: SizeFacts, batch_bytes: int | None, *pictures: Tensor) -> int:
    prediction = dense(module, facts, batch_bytes=batch_bytes)
    module.seen.clear()  # what was measured
    run(prediction, *pictures)
    return max(shape[0] * shape[2] * shape[3] for shape in module.seen)


def test_a_wider_network_or_less_memory_makes_batches_and_exact_tiles_smaller() -> None:
    pictures = [picture(256, 256, seed) for seed in range(4)]
    seen = {
        (width, megabytes): pixels_at_once(Wide(width), EXACT, megabytes << 20, *pictures)
        for width in (8, 64)
        for megabytes in (4, 16)
    }
    assert seen[64, 4] < seen[64, 16] < seen[8, 16]
    assert seen[8, 4] < seen[8, 16]
    for (width, megabytes), pixels in seen.items():
        assert pixels * 2 * 4 * width <= megabytes << 20


def test_the_tiles_that_memory_makes_give_what_the_whole_picture_gives() -> None:
    given_CHW, module = picture(300, 260), Wide(16)
    (whole_CHW,) = run(dense(module, EXACT), given_CHW)
    (tiled_CHW,) = run(dense(module, EXACT, batch_bytes=2 << 20), given_CHW)
    assert len({shape[2:] for shape in module.seen[-4:]}) <= 4
    assert max(shape[2] for shape in module.seen[-4:]) < 300
    torch.testing.assert_close(tiled_CHW, whole_CHW, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("facts", [ANY_SIZE, SizeFacts(tiling="blended"), SizeFacts(resize_px=(64, 64))], ids=repr)
def test_memory_does_not_change_what_a_network_without_exact_tiles_sees(facts: SizeFacts) -> None:
    def sizes(batch_bytes: int | None) -> set[tuple[int, ...]]:
        module = Wide(64)
        prediction = dense(module, facts, batch_bytes=batch_bytes)
        module.seen.clear()
        run(prediction, picture(200, 150), picture(150, 200))
        return {shape[2:] for shape in module.seen}

    assert sizes(1 << 16) == sizes(None)


def test_a_batch_that_the_user_fixed_stays() -> None:
    pictures = [picture(64, 64, seed) for seed in range(4)]
    module = Wide(8)
    run(dense(module, batch=4, batch_bytes=1), *pictures)
    assert module.seen == [(4, 3, 64, 64)]
