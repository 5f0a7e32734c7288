"""Measure Pixelmill on one device, in one process and without Ray: speed against a bare forward, agreement with the CPU.

    python -m benchmarks.gpu                       on the GPU: four networks over 4,000 JPEGs, one over 12 MP, masks and
                                                   disparities of 1,000 and of 64 of 12 MP, training steps
    python -m benchmarks.gpu --device cpu --small  the same in a minute or two, wherever Python runs

It needs torch, torchvision, timm, pyarrow and pydantic, and what these bring along; no Ray, no server, no download: the
weights are random. Each result is printed as a line of JSON as soon as it is measured, and all of them as a table at the end.

Legend: B batch, C channels, H height, W width, D dimension of an embedding.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import dense_mill
from benchmarks.in_process_mill import InProcessMill
from benchmarks.one_step import RECIPES, steps_on
from benchmarks.synthetic import SIZE_WH, write_jpegs
from pixelmill.workers.models import backbones
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.runtime.execution import folded

Result = dict[str, Any]

NETWORKS = (
    "torchvision:resnet18/random",
    "torchvision:resnet50/random",
    "timm:vit_base_patch16_224/random",
    "timm:vit_base_patch14_dinov2/random",
)
LARGE_NETWORK, LARGE_WH, LARGE_IMAGES = "torchvision:resnet50/random", (4032, 3024), 512
DENSE_IMAGES, DENSE_LARGE_IMAGES, DENSE_COMPARED = 1000, 64, 4
SMALL_LARGE_WH, SMALL_IMAGES = (800, 600), 4
"""In the place of 12 MP, and how many of these and of maps, where no figure counts."""
SMALL_NETWORKS = ("torchvision:resnet18/random", "timm:vit_tiny_patch16_224/random")
COMPARED = 32
"""Pictures whose embeddings are computed on the CPU too, in float32."""
BARE_S = 2.0


@dataclass(frozen=True)
class Scope:
    """The amount to measure, and the device."""

    device: str
    networks: tuple[str, ...]
    images: int
    decode_threads: int
    bare_s: float
    large_wh: tuple[int, int] = LARGE_WH
    large_images: int = LARGE_IMAGES
    dense_images: int = DENSE_IMAGES
    dense_large_images: int = DENSE_LARGE_IMAGES


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every result; 1 when a network or a training step does not agree with the CPU."""
    scope = scope_of(_parser().parse_args(arguments))
    results: list[Result] = []
    for result in measure(scope):
        results.append(result)
        print(json.dumps(result), flush=True)
    print(table(results))
    return 0 if all(result.get("agrees", True) for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--small", action="store_true", help="two small networks and few pictures: a check, no figures")
    parser.add_argument("--networks", nargs="+", metavar="MODEL", help="in the place of the usual ones")
    parser.add_argument("--images", type=int, help="how many JPEGs go through the mill")
    return parser


def scope_of(options: argparse.Namespace) -> Scope:
    """The plan that follows from the options and from this machine."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = tuple(options.networks or (SMALL_NETWORKS if options.small else NETWORKS))
    images = options.images or (64 if options.small else 4000)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    decode_threads = max(1, cores - 1) if device == "cuda" else 0
    if options.small:
        few = (SMALL_IMAGES, SMALL_IMAGES, SMALL_IMAGES)
        return Scope(device, networks, images, decode_threads, 0.5, SMALL_LARGE_WH, *few)
    return Scope(device, networks, images, decode_threads, BARE_S)


def measure(scope: Scope) -> Iterator[Result]:
    """The machine, then each network, then masks and disparities, then each training step."""
    yield machine(scope)
    with tempfile.TemporaryDirectory(prefix="pixelmill-gpu-") as folder:
        pictures = write_jpegs(Path(folder) / "pictures", scope.images)
        for model in scope.networks:
            yield network(model, pictures, scope)
    with tempfile.TemporaryDirectory(prefix="pixelmill-gpu-") as folder:
        pictures = write_jpegs(Path(folder) / "pictures", scope.large_images, scope.large_wh)
        yield network(LARGE_NETWORK, pictures, scope) | {"pictures": _size(scope.large_wh)}
    for size_wh, count in ((SIZE_WH, scope.dense_images), (scope.large_wh, scope.dense_large_images)):
        with tempfile.TemporaryDirectory(prefix="pixelmill-gpu-") as folder:
            pictures = write_jpegs(Path(folder) / "pictures", count, size_wh)
            for stage in dense_mill.MODELS:
                yield maps(stage, pictures, size_wh, scope)
    for recipe in RECIPES:
        yield training(recipe, scope)


# ----------------------------------------------------------------------------------------------------- what is measured


def machine(scope: Scope) -> Result:
    """The machine and the versions that the figures belong to."""
    is_cuda = scope.device == "cuda"
    return {
        "what": "machine",
        "device": torch.cuda.get_device_name() if is_cuda else platform.processor() or platform.machine(),
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if is_cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if is_cuda else None,
        "python": platform.python_version(),
        "decode_threads": scope.decode_threads,
        "images": scope.images,
    }


def network(model: str, pictures: Path, scope: Scope) -> Result:
    """One network through the mill, beside its bare forward in the same settings, and held against the CPU."""
    _forget_peak(scope.device)
    mill = InProcessMill(model, pictures, scope.device, decode_threads=scope.decode_threads)
    embedded = mill.embed_all()
    peak_bytes = _peak_bytes(scope.device)
    settings = mill.settings
    bare_per_s = bare_forwards(model, settings, scope)
    forward_per_s = max(bare_per_s.values())
    decode_per_s = max(1, scope.decode_threads) / embedded.decode_s
    cosine = mill.least_cosine_to_cpu(embedded, COMPARED)
    return {
        "what": "network",
        "name": model,
        "settings": settings,
        "mill_images_per_s": embedded.images_per_s,
        "forward_images_per_s": forward_per_s,
        **{f"{how}_images_per_s": rate for how, rate in bare_per_s.items()},
        "decode_images_per_s": decode_per_s,
        "cores_to_decode_for_forward": forward_per_s * embedded.decode_s,
        "is_decode_bound": decode_per_s < forward_per_s,
        "of_forward": embedded.images_per_s / forward_per_s,
        "failed_rows": embedded.failed_rows,
        "least_cosine_to_cpu": cosine,
        "agrees": cosine >= 0.999 and embedded.failed_rows == 0,
        "peak_memory_bytes": peak_bytes,
    }


def maps(stage: dense_mill.DenseStage, pictures: Path, size_wh: tuple[int, int], scope: Scope) -> Result:
    """A stage that makes maps, beside its bare network in the same settings, and held against the CPU."""
    _forget_peak(scope.device)
    is_cuda = scope.device == "cuda"
    mill = dense_mill.DenseMill(stage, pictures, scope.device, decode_threads=scope.decode_threads)
    made = mill.all_maps()
    peak_bytes = _peak_bytes(scope.device)
    eager_per_s, compiled_per_s = (
        dense_mill.bare_forward(stage, mill.settings, size_wh, scope.device, scope.bare_s, compiles=compiles)
        if is_cuda or not compiles
        else 0.0
        for compiles in (False, True)
    )
    forward_per_s, host_s = max(eager_per_s, compiled_per_s), made.decode_s + made.encode_s
    host_per_s = max(1, scope.decode_threads) / host_s
    agreement = mill.agreement(made, DENSE_COMPARED)
    failed_rows = sum(table.num_rows - table["error"].null_count for table in made.tables)
    return {
        "what": "maps",
        "name": f"{stage} {dense_mill.MODELS[stage]}",
        "pictures": _size(size_wh),
        "settings": mill.settings,
        "mill_images_per_s": made.images_per_s,
        "forward_images_per_s": forward_per_s,
        "eager_images_per_s": eager_per_s,
        "host_images_per_s": host_per_s,
        "decode_s": made.decode_s,
        "encode_s": made.encode_s,
        "is_host_bound": host_per_s < forward_per_s,
        "cores_to_keep_up": forward_per_s * host_s,
        "of_forward": made.images_per_s / forward_per_s,
        "failed_rows": failed_rows,
        "measure": agreement.measure,
        "figure": agreement.figure,
        "agrees": agreement.agrees and failed_rows == 0,
        "peak_memory_bytes": peak_bytes,
    }


def _size(size_wh: tuple[int, int]) -> str:
    return "12 MP" if size_wh == LARGE_WH else f"{size_wh[0]}x{size_wh[1]}"


@torch.inference_mode()
def bare_forwards(model: str, settings: Result, scope: Scope) -> dict[str, float]:
    """Images a second of the network alone, on one normalised batch in the device's memory: eager, and on a GPU compiled, and
    compiled with its launches recorded in a CUDA graph, which tells what a worker would gain by one."""
    pixels = backbones.load_backbone(resolve(model)).network
    assert pixels.input_px is not None
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    dtype = getattr(torch, settings["precision"])
    module = folded(pixels.module).to(scope.device, dtype).to(memory_format=layout)
    images_BCHW = torch.randn(settings["microbatch"], 3, pixels.input_px, pixels.input_px)
    images_BCHW = images_BCHW.to(scope.device, dtype).to(memory_format=layout)
    found = {"eager": _rate(lambda: module(images_BCHW), len(images_BCHW), scope)}
    if scope.device == "cuda":
        compiled = torch.compile(module)
        found["compiled"] = _rate(lambda: compiled(images_BCHW), len(images_BCHW), scope)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            compiled(images_BCHW)
        found["graphed"] = _rate(graph.replay, len(images_BCHW), scope)
    return found


def _rate(run: Callable[[], object], images: int, scope: Scope) -> float:
    """Images a second of batches of so many."""
    for _ in range(3):
        run()
    _wait_for(scope.device)
    began_s, batches = time.perf_counter(), 0
    while time.perf_counter() - began_s < scope.bare_s:
        for _ in range(4):  # a wait after each would leave the device idle in between
            run()
        _wait_for(scope.device)
        batches += 4
    return batches * images / (time.perf_counter() - began_s)


def training(recipe: str, scope: Scope) -> Result:
    """A few steps of a recipe from the same weights and samples on the device and on the CPU."""
    _forget_peak(scope.device)
    there = steps_on(recipe, scope.device)
    peak_bytes = _peak_bytes(scope.device)
    here = there if scope.device == "cpu" else steps_on(recipe, "cpu")
    error = max(abs(a - b) / max(1e-9, abs(b)) for a, b in zip(there.losses, here.losses, strict=True))
    return {
        "what": "training",
        "name": recipe,
        "losses": there.losses,
        "losses_on_cpu": here.losses,
        "relative_error": error,
        "agrees": error < 0.01,
        "images_per_s": there.images_per_s,
        "peak_memory_bytes": peak_bytes,
    }


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak_bytes(device: str) -> int:
    """The device's memory since the peak was forgotten; on the CPU that of the process since it began."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ------------------------------------------------------------------------------------------------------------- shown


def table(results: Sequence[Result]) -> str:
    """All results as lines for people."""
    return "\n".join(_LINES[result["what"]](result) for result in results)


def _machine_line(result: Result) -> str:
    cuda = f", CUDA {result['cuda']}" if result["cuda"] else ""
    return f"\n{result['device']}, torch {result['torch']}{cuda}, {result['images']:,} JPEGs of 500x375\n"


def _network_line(result: Result) -> str:
    settings = result["settings"]
    return (
        f"{result['name'] + ' ' + result.get('pictures', ''):44s} mill {result['mill_images_per_s']:9,.1f} images/s  "
        f"forward {result['forward_images_per_s']:9,.1f}{_bare(result)}  ratio {result['of_forward']:.2f}  "
        f"decoding {result['decode_images_per_s']:9,.1f}{_short_of(result)}  "
        f"cosine to the CPU {result['least_cosine_to_cpu']:.5f}  peak {result['peak_memory_bytes'] / 1e9:.2f} GB  "
        f"({settings['precision']}, batch {settings['microbatch']})"
    )


def _bare(result: Result) -> str:
    """Each way of running the network alone, where there are several."""
    ways = {how: result.get(f"{how}_images_per_s") for how in ("eager", "compiled", "graphed")}
    found = [f"{how} {rate:,.0f}" for how, rate in ways.items() if rate is not None]
    return f" ({', '.join(found)})" if len(found) > 1 else ""


def _short_of(result: Result) -> str:
    """What is missing where the cores decode slower than the network computes."""
    if not result["is_decode_bound"]:
        return ""
    return f" (short: {math.ceil(result['cores_to_decode_for_forward'])} cores would keep up)"


def _maps_line(result: Result) -> str:
    settings = result["settings"]
    short = f" (short: {math.ceil(result['cores_to_keep_up'])} cores would keep up)" if result["is_host_bound"] else ""
    return (
        f"{result['name'] + ' ' + result['pictures']:44s} mill {result['mill_images_per_s']:9,.1f} images/s  "
        f"forward {result['forward_images_per_s']:9,.1f}  ratio {result['of_forward']:.2f}  "
        f"decoding and encoding {result['host_images_per_s']:9,.1f}{short}  "
        f"{result['measure']} to the CPU {result['figure']:.5f}  peak {result['peak_memory_bytes'] / 1e9:.2f} GB  "
        f"({settings['precision']}, batch {settings['microbatch']})"
    )


def _training_line(result: Result) -> str:
    return (
        f"{'training ' + result['name']:36s} {result['images_per_s']:14,.1f} images/s  "
        f"loss {result['losses'][0]:.4f} -> {result['losses'][-1]:.4f}, off the CPU's by {result['relative_error']:.1e}  "
        f"peak {result['peak_memory_bytes'] / 1e9:.2f} GB"
    )


_LINES = {"machine": _machine_line, "network": _network_line, "maps": _maps_line, "training": _training_line}


if __name__ == "__main__":
    sys.exit(main())
