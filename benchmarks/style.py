"""Compare Gatys' optimisation with one pass through a network that was trained for the style: losses and times.

    python -m benchmarks.style VGG PAINTING [--content PHOTO] [--checkpoint faststyle-starry-night] [--steps 300]

Both paint the same photograph at the same size in one process. The optimisation starts from noise with its default
settings; its first loss is that of the noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import skimage.data
import torch
from PIL import Image
from torch import Tensor

from benchmarks.throughput import RESULTS
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.geometry.resize import resize_shorter_side
from pixelmill.workers.losses.gatys import GatysSettings, stylize
from pixelmill.workers.models.vgg_weights import load_vgg

PASSES = 15


def read_picture(path: str, shorter_px: int) -> Tensor:
    """The picture, resized to this shorter side, as floats in [0, 1], 3HW."""
    return resize_shorter_side(decode_picture(Path(path).read_bytes()), shorter_px).float() / 255


def seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vgg", help="weights of VGG, as pixelmill stylize --vgg takes them")
    parser.add_argument("painting")
    parser.add_argument("--content", help="a photograph; scikit-image's cat where none is given")
    parser.add_argument("--checkpoint", default="faststyle-starry-night")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(skimage.data.chelsea()).save(file.name)
        photo_1CHW = read_picture(options.content or file.name, options.size_px)[None]
    painting_1CHW = read_picture(options.painting, options.size_px)[None]
    totals: list[float] = []

    def on_step(_: int, terms: Mapping[str, Tensor]) -> None:
        totals.append(float(terms["total"]))

    settings = GatysSettings(steps=options.steps)
    loss_network = load_vgg(options.vgg)
    optimized_s = seconds(lambda: stylize(photo_1CHW, painting_1CHW, loss_network, settings, on_step))
    network, _ = checkpoints.load_from_store(options.checkpoint, Access())
    with torch.inference_mode():
        network(photo_1CHW)
        pass_s = statistics.median(seconds(lambda: network(photo_1CHW)) for _ in range(PASSES))
    figures = {
        "size_px": list(photo_1CHW.shape[2:]),
        "steps": options.steps,
        "loss_of_noise": totals[0],
        "loss_at_last": totals[-1],
        "down_by": 1 - totals[-1] / totals[0],
        "optimized_s": optimized_s,
        "pass_s": pass_s,
        "times_faster": optimized_s / pass_s,
    }
    print(
        f"{options.steps} steps: loss down by {figures['down_by']:.1%} in {optimized_s:.0f} s; "
        f"one pass of {options.checkpoint}: {pass_s * 1e3:.0f} ms, {figures['times_faster']:,.0f} times faster"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "style.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
