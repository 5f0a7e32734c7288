"""Draw the pictures of docs/gallery with the checkpoints of the zoo.

    python -m benchmarks.gallery DATA [--only NAME ...]

DATA holds the data sets as jobs/recipes name them; curves are of the logs in docs/gallery/curves. Nothing is shown that was
trained on; photographs are scikit-image's where any will do. The row of weights is optimised and takes minutes, the rest seconds.

Legend: N digits, B batch, C channels, H height, W width, D numbers in a code.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F  # noqa: N812
from matplotlib.figure import Figure
from PIL import Image
from sklearn.manifold import TSNE
from torch import Tensor

from benchmarks.curves import drawn
from pixelmill.jobs import generate
from pixelmill.jobs.generate import Asked, Kind
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.evaluation.depth_colours import coloured
from pixelmill.workers.geometry.resize import center_crop, resize_shorter_side
from pixelmill.workers.losses.gatys import GatysSettings, stylize
from pixelmill.workers.models import zoo
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.palette import CAMVID_COLOURS, class_colours
from pixelmill.workers.models.vgg_weights import load_vgg
from pixelmill.workers.pictures import Picture
from pixelmill.workers.recipes import squares
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.stages import StageContext, config_class
from pixelmill.workers.stages.shared_runs import to_levels

GALLERY = Path("docs/gallery")
QUALITY = 88
DIGITS_SHOWN = 3000
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina")
SHARP = ("astronaut", "chelsea", "coffee")
ANY_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
STAGE_PX = 192
CONTENT = "chelsea"
WEIGHTS = (0.1, 1.0, 10.0, 100.0)
BESIDE_PX = 8


@dataclass(frozen=True)
class Sources:
    """Where the data lie."""

    data: Path

    @property
    def vgg(self) -> str:
        return f"{self.data}/weights/vgg16_imagenet_conv_bgr255_fp16.safetensors"

    def asked(
        self, kind: Kind, name: str, data: str, count: int, rows: int = 2, overrides: tuple[str, ...] = ()
    ) -> Tensor:
        return generate.picture(
            Asked(kind, name, (f"{self.data}/{data}",), count=count, rows=rows, overrides=overrides)
        )


@contextmanager
def photographs(names: Sequence[str] = PHOTOGRAPHS) -> Iterator[str]:
    """A folder with photographs of scikit-image."""
    with tempfile.TemporaryDirectory(prefix="pmg-") as folder:
        for name in names:
            Image.fromarray(getattr(skimage.data, name)()).save(f"{folder}/{name}.png")
        yield folder


def beside(*pictures_CHW: Tensor) -> Tensor:
    """Pictures from left to right on white, each at its own size."""
    height = max(picture.shape[1] for picture in pictures_CHW)
    width = sum(picture.shape[2] + BESIDE_PX for picture in pictures_CHW) - BESIDE_PX
    canvas_CHW = torch.full((3, height, width), 255, dtype=torch.uint8)
    left = 0
    for picture_CHW in pictures_CHW:
        canvas_CHW[:, : picture_CHW.shape[1], left : left + picture_CHW.shape[2]] = picture_CHW
        left += picture_CHW.shape[2] + BESIDE_PX
    return canvas_CHW


# --------------------------------------------------------------------------------------------------------- pictures


def reconstructions(sources: Sources) -> Tensor:
    """Photographs over what 256 numbers keep of them."""
    with photographs() as folder:
        asked = Asked("reconstructions", "autoencoder-photos", (folder,), count=len(PHOTOGRAPHS), rows=2)
        return generate.picture(asked)


def samples(sources: Sources) -> Tensor:
    """Codes drawn from a Gaussian that was fitted to the autoencoder's, and from the prior of the VAE."""
    drawn = [
        sources.asked("samples", "autoencoder-mnist", "mnist", 8, 8),
        sources.asked("samples", "vae-mnist", "mnist", 8, 8),
    ]
    return beside(*(enlarged(each) for each in drawn))


def walk(sources: Sources) -> Tensor:
    """From one digit to another through the codes of the VAE."""
    return enlarged(sources.asked("interpolation", "vae-mnist", "mnist", 12, 6))


def enlarged(picture_CHW: Tensor) -> Tensor:
    """Twice the size, each pixel a square of four."""
    return picture_CHW.repeat_interleave(2, 1).repeat_interleave(2, 2)


def digits(sources: Sources) -> Tensor:
    """The codes of test digits in the plane by t-SNE, which never sees the labels that colour them."""
    network, card = load_checkpoint(zoo.zoo_path("autoencoder-mnist") or Path())
    recipe = recipe_of(card)
    found = find(layout_of("pictures").ROLES, [f"{sources.data}/mnist/test.parquet"], Access()).take(
        range(DIGITS_SHOWN)
    )
    read = read_samples(found, recipe)
    with torch.inference_mode():
        codes_ND = network.encode(squares.stack(read, recipe.settings.size_px)).numpy()  # type: ignore[operator]
    places_N2 = TSNE(random_state=0, init="pca", perplexity=30).fit_transform(codes_ND)
    labels_N = np.array([int(sample["label"]) for sample in read])
    figure = Figure(figsize=(7, 6), dpi=100, layout="constrained")
    axes = figure.subplots()
    drawn = axes.scatter(*places_N2.T, c=labels_N, cmap="tab10", s=5, vmin=-0.5, vmax=9.5)
    figure.colorbar(drawn, ticks=range(10), label="digit")
    axes.set(xticks=[], yticks=[], title=f"codes of {DIGITS_SHOWN:,} test digits, t-SNE of 32 numbers")
    return rendered(figure)


def rendered(figure: Figure) -> Tensor:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1)


def masks(sources: Sources) -> Tensor:
    """Street scene, truth, and what SegNet, FCN-8s and U-Net see."""
    names = ("segnet-camvid", "fcn8s-camvid", "unet-camvid")
    seen = [sources.asked("predictions", name, "camvid", count=5) for name in names]
    third = seen[0].shape[2] // 3
    return beside(seen[0], *(each[:, :, 2 * third :] for each in seen[1:]))


def depth(sources: Sources) -> Tensor:
    """Left view, disparity from it alone, and LiDAR."""
    return sources.asked("predictions", "monodepth-kitti", "stereo/kitti", count=4)


def upscaled(sources: Sources) -> Tensor:
    """Bicubic, VDSR, and the original."""
    with photographs(SHARP) as folder:
        return generate.picture(Asked("predictions", "vdsr-t91", (folder,), count=len(SHARP)))


def read_picture(path: str, shorter_px: int) -> Tensor:
    """A picture of this shorter side, uint8 CHW."""
    return resize_shorter_side(decode_picture(Path(path).read_bytes()), shorter_px)


def painted(style: str, pixels_CHW: Tensor) -> Tensor:
    """The picture as stage stylize makes it with a network."""
    return made_by("stylize", {"style": style}, pixels_CHW)


def made_by(kind: str, options: Mapping[str, object], pixels_CHW: Tensor) -> Tensor:
    """The picture that a kind of stage makes of another."""
    stage = config_class(kind).model_validate(options).build(StageContext("cpu", 1, 1, None))
    (made,) = stage.run([stage.prepare(Picture(pixels_CHW))]).pictures
    assert made is not None
    return made.pixels


def stages(sources: Sources) -> Tensor:
    """Photographs through the stages, each with the network that it takes when none is named."""
    with photographs(ANY_PHOTOGRAPHS) as folder:
        read = [read_picture(f"{folder}/{name}.png", STAGE_PX) for name in ANY_PHOTOGRAPHS]
    return torch.cat([_through_stages(pixels_CHW[:, :, :STAGE_PX]) for pixels_CHW in read], 1)


def _through_stages(pixels_CHW: Tensor) -> Tensor:
    """The middle of it twice as large by interpolation and by the network, mask, disparity, style, reconstruction."""
    middle_CHW = center_crop(pixels_CHW, STAGE_PX // 2)
    sharp_CHW = made_by("upscale", {"scale": 2}, middle_CHW)
    plain = F.interpolate(middle_CHW[None].float(), sharp_CHW.shape[1:], mode="bicubic", antialias=True)
    colours = torch.tensor(class_colours(tuple(CAMVID_COLOURS)), dtype=torch.uint8)
    mask_CHW = colours[made_by("segment", {}, pixels_CHW)[0].long()].permute(2, 0, 1)
    levels_HW = made_by("depth", {}, pixels_CHW)[0].float()
    shown = [pixels_CHW, plain[0].clamp(0, 255).byte(), sharp_CHW, mask_CHW, coloured(levels_HW / levels_HW.max())]
    shown += [made_by("stylize", {}, pixels_CHW), made_by("reconstruct", {}, pixels_CHW)]
    row_CHW = beside(*shown)
    return F.pad(row_CHW, (0, 0, 0, BESIDE_PX), value=255)


def styles(sources: Sources) -> Tensor:
    """One photograph in several styles, a network each."""
    with photographs() as folder:
        photo_CHW = read_picture(f"{folder}/{CONTENT}.png", 256)
    there = [name for name in zoo.zoo_names() if name.startswith("faststyle-")]
    return beside(photo_CHW, *(painted(name, photo_CHW) for name in there))


def weights(sources: Sources) -> Tensor:
    """Gatys' optimisation with more and more weight on style."""
    with photographs() as folder:
        photo_CHW = read_picture(f"{folder}/{CONTENT}.png", 192)
    painting_CHW = read_picture(f"{sources.data}/styles/starry_night_crop.jpg", 192)
    network, made = load_vgg(sources.vgg), [photo_CHW]
    for weight in WEIGHTS:
        settings = GatysSettings(start="content", steps=100, style_weight=weight)
        made.append(to_levels(stylize(photo_CHW[None] / 255, painting_CHW[None] / 255, network, settings)[0]))
    return beside(*made)


def layouts(sources: Sources) -> Tensor:
    """Layouts, what the twin that was trained on squared error makes of them, what the perceptual loss does, and the truth."""
    blurred, sharp = (
        sources.asked("predictions", checkpoint, "facades/val", 8, overrides=(f"vgg={sources.vgg}",))
        for checkpoint in ("crn-facades-l2", "crn-facades")
    )
    below = 2 + (blurred.shape[1] - 2) // 3  # rows: layout, synthesised, photograph
    return torch.cat([blurred[:, : 2 * below - 2], sharp[:, below:]], 1)


def curves(sources: Sources) -> Tensor:
    """The loss and the metric of the training of each recipe file, from the logs that were kept."""
    return drawn()


PICTURES: dict[str, Callable[[Sources], Tensor]] = {
    each.__name__: each
    for each in (
        reconstructions,
        digits,
        samples,
        walk,
        masks,
        depth,
        upscaled,
        styles,
        stages,
        weights,
        layouts,
        curves,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    GALLERY.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        shown_CHW = PICTURES[name](Sources(options.data.absolute()))
        path = GALLERY / f"{name}.jpg"
        Image.fromarray(shown_CHW.permute(1, 2, 0).numpy()).save(path, quality=QUALITY, optimize=True)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
