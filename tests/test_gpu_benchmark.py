"""`python -m benchmarks.gpu` runs where nothing is installed but torch, torchvision, timm, pyarrow and pydantic."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = ("unet", "vae", "autoencoder", "fcn", "vdsr")
"""Of benchmarks/one_step.py; written here again, because tests stand without the benchmarks."""
ROOT = Path(__file__).parent.parent
MISSING = (
    "aiohttp", "botocore", "matplotlib", "obstore", "platformdirs", "psutil", "ray", "rich", "s3fs", "scipy",
    "simplejpeg", "skimage", "sklearn", "tensorboardX", "torchmetrics", "typer",
)  # fmt: skip
"""What pixelmill needs otherwise, but for what torch and timm bring along (filelock, fsspec, safetensors, PyYAML)."""

WITHOUT = f"import runpy, sys; sys.modules.update(dict.fromkeys({MISSING!r})); "


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT + code], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.timeout(900)
def test_the_benchmark_of_one_device_runs_without_ray_and_agrees_with_the_cpu() -> None:
    words = ["gpu", "--device", "cpu", "--small", "--images", "24", "--networks", "torchvision:resnet18/random"]
    done = run(f"sys.argv = {words!r}; runpy.run_module('benchmarks.gpu', run_name='__main__')")
    assert done.returncode == 0, done.stderr
    *_, first_table_line = [number for number, line in enumerate(done.stdout.splitlines()) if line.startswith("{")]
    printed = [json.loads(line) for line in done.stdout.splitlines()[: first_table_line + 1]]
    machine, network, large, *maps = [result for result in printed if result["what"] != "training"]
    trainings = [result for result in printed if result["what"] == "training"]
    assert machine["images"] == 24
    assert network["least_cosine_to_cpu"] > 0.999
    assert network["failed_rows"] == 0
    assert network["of_forward"] == pytest.approx(network["mill_images_per_s"] / network["forward_images_per_s"])
    assert large["pictures"] == "800x600"
    dense = [
        (stage, size) for size in ("500x375", "800x600") for stage in ("segment unet-camvid", "depth monodepth-kitti")
    ]
    assert [(each["name"], each["pictures"]) for each in maps] == dense
    for each in maps:
        assert each["agrees"]
        assert each["of_forward"] == pytest.approx(each["mill_images_per_s"] / each["forward_images_per_s"])
        assert each["host_images_per_s"] == pytest.approx(1 / (each["decode_s"] + each["encode_s"]))
        assert each["encode_s"] > 0
    assert [each["name"] for each in trainings] == list(RECIPES)
    assert all(each["losses"][-1] < each["losses"][0] for each in trainings)
    shown = done.stdout.splitlines()[first_table_line + 4 :]
    assert [line.split()[0] for line in shown] == [
        *("torchvision:resnet18/random", "torchvision:resnet50/random"),
        *("segment", "depth") * 2,
        *["training"] * len(RECIPES),
    ]


def test_steps_on_another_device_have_the_losses_of_those_on_the_cpu() -> None:
    code = (
        "import json; from benchmarks.one_step import steps_on; from tests.elsewhere import elsewhere\n"
        f"for recipe in {RECIPES!r}:\n"
        "    here = steps_on(recipe, 'cpu').losses\n"
        "    with elsewhere() as device: there = steps_on(recipe, device.type).losses\n"
        "    print(json.dumps([here, there]))"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    losses = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(losses) == len(RECIPES)
    for here, there in losses:
        assert here == there
        assert len(set(here)) == 3


def test_a_device_that_disagrees_ends_with_1() -> None:
    code = (
        "from benchmarks import gpu\n"
        "gpu.measure = lambda scope: iter([gpu.machine(scope), {'what': 'training', 'name': 'x', 'losses': [1., 2.],"
        " 'relative_error': 1., 'agrees': False, 'images_per_s': 1., 'peak_memory_bytes': 1}])\n"
        "sys.exit(gpu.main(['--device', 'cpu']))"
    )
    assert run(code).returncode == 1


def test_maps_that_differ_from_those_of_the_cpu_do_not_agree(tmp_path: Path) -> None:
    code = (
        "import io, pathlib; import numpy as np, pyarrow as pa; from PIL import Image\n"
        "from benchmarks.dense_mill import DenseMill; from benchmarks.synthetic import write_jpegs\n"
        "from benchmarks.in_process_mill import MilledFolder\n"
        "def table(level, column):\n"
        "    file = io.BytesIO(); Image.fromarray(np.full((8, 8), level, np.uint8)).save(file, 'PNG')\n"
        "    row = {'uri': 'a', 'error': None, column: {'bytes': file.getvalue()}, column + '_scale': 0.5}\n"
        "    return pa.Table.from_pylist([row])\n"
        f"pictures = write_jpegs(pathlib.Path({str(tmp_path)!r}) / 'in', 2, (8, 8))\n"
        "for stage, column in (('segment', 'mask'), ('depth', 'disparity_px')):\n"
        "    mill = DenseMill(stage, pictures, 'cpu', decode_threads=0)\n"
        "    mill.on_the_cpu = lambda *_: table(100, column)\n"
        "    made = lambda level: MilledFolder((table(level, column), table(level, column)), 1., 1., 1.)\n"
        "    found = [mill.agreement(made(level), 1) for level in (100, 101, 150)]\n"
        "    assert [each.agrees for each in found] == [True, stage == 'depth', False], found\n"
        "    mill.on_the_cpu = lambda *_: table(100, column).set_column(0, 'uri', [['b']])\n"
        "    assert not mill.agreement(made(100), 1).agrees\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
