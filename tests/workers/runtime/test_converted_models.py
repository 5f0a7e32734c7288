"""A converted network is kept for the next worker, is the same bit for bit, and nothing else is ever loaded."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime import converted_models, openvino
from pixelmill.workers.runtime.agreement import Cosine, Decibels
from pixelmill.workers.runtime.converted_models import ConvertedModels, KeptNetwork
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.openvino import OpenVinoNetwork
from pixelmill.workers.runtime.openvino_sizes import OpenVinoBySize, SizeRules
from pixelmill.workers.runtime.settings import Pins, Settings
from pixelmill.workers.runtime.tuned import TunedNetwork

pytest.importorskip("openvino")

BY_OPENVINO = Settings(backend="openvino", channels_last=False, microbatch=2)
SHAPE = (2, 3, 8, 8)


def module(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    layers.eval().requires_grad_(False)
    return layers


def models(folder: Path, **changes: object) -> ConvertedModels:
    return replace(ConvertedModels(folder / "models", "key", Cosine(0.999)), **changes)  # pyright: ignore


def images(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def run(kept: KeptNetwork | None, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    with torch.inference_mode():
        return OpenVinoNetwork(module(seed), "float32", 1, kept)(images(shape))


def blobs(folder: Path) -> list[Path]:
    return sorted((folder / "models").glob("*.blob"))


@dataclass
class Counter:
    count: int = 0


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter, real = Counter(), openvino._converted

    def counted(network: nn.Module, example_BCHW: Tensor) -> object:
        counter.count += 1
        return real(network, example_BCHW)

    monkeypatch.setattr(openvino, "_converted", counted)
    return counter


def test_the_next_worker_does_not_convert_and_computes_the_same_bit_for_bit(
    tmp_path: Path, conversions: Counter
) -> None:
    first, second = (run(models(tmp_path).of(module(), "float32")) for _ in range(2))
    assert conversions.count == 1
    assert torch.equal(first, second)
    torch.testing.assert_close(second, module()(images()), atol=1e-5, rtol=1e-4)
    assert (tmp_path / "models").stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in blobs(tmp_path)] == [0o600]


def test_each_memory_order_of_the_pictures_has_a_conversion_of_its_own(tmp_path: Path, conversions: Counter) -> None:
    kept, shown = models(tmp_path).of(module(), "float32"), images((1, 3, 8, 3))
    for given in (shown, shown.to(memory_format=torch.channels_last), shown):
        with torch.inference_mode():
            made = OpenVinoNetwork(module(), "float32", 1, kept)(given)
        torch.testing.assert_close(made, module()(shown), atol=1e-5, rtol=1e-4)
    assert conversions.count == 2
    assert len(blobs(tmp_path)) == 2


def test_another_network_shape_precision_key_code_or_processor_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(kept: KeptNetwork, shape: tuple[int, ...] = SHAPE) -> str:
        kept.keep(shape, b"")
        (name,) = {file.name for file in blobs(tmp_path)} - names
        return name

    names: set[str] = set()
    at = models(tmp_path)
    names.add(name(at.of(module(), "float32")))
    names.add(name(at.of(module(), "float32"), (1, 3, 8, 8)))
    names.add(name(at.of(module(), "bfloat16")))
    names.add(name(at.of(module(seed=1), "float32")))
    names.add(name(at.of(nn.Sequential(*module(), nn.ReLU()), "float32")))
    names.add(name(models(tmp_path, network_key="other").of(module(), "float32")))
    monkeypatch.setattr(converted_models, "processor_name", lambda: "another one")
    names.add(name(at.of(module(), "float32")))
    monkeypatch.setattr(converted_models, "_code", lambda: "another version")
    names.add(name(at.of(module(), "float32")))
    assert len(names) == 8


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _emptied(file: Path) -> None:
    file.write_bytes(b"")


def _linked(file: Path) -> None:
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


def _linked_twice(file: Path) -> None:
    os.link(file, file.parent.parent / "elsewhere")


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("harm", [_cut, _changed, _emptied, _linked, _linked_twice, _pipe])
def test_a_broken_or_foreign_file_is_ignored_and_made_again(
    tmp_path: Path, conversions: Counter, harm: Callable[[Path], None]
) -> None:
    kept = models(tmp_path).of(module(), "float32")
    truth = run(kept)
    (file,) = blobs(tmp_path)
    harm(file)
    assert kept.read(SHAPE) is None
    elsewhere = (tmp_path / "elsewhere").read_bytes() if (tmp_path / "elsewhere").exists() else None
    assert torch.equal(run(kept), truth)
    assert conversions.count == 2
    assert torch.equal(run(kept), truth)
    assert conversions.count == 2
    assert not file.is_symlink()
    if elsewhere is not None:
        assert (tmp_path / "elsewhere").read_bytes() == elsewhere


def test_a_file_under_the_name_of_another_is_not_read(tmp_path: Path) -> None:
    kept = models(tmp_path).of(module(), "float32")
    kept.keep((1, 3, 8, 8), b"of one picture")
    (one,) = blobs(tmp_path)
    kept.keep(SHAPE, b"of two")
    (two,) = set(blobs(tmp_path)) - {one}
    one.rename(two)
    assert kept.read(SHAPE) is None


@pytest.mark.parametrize("blob", ["of other weights", "none at all"])
def test_what_is_no_conversion_of_this_network_is_converted_again(
    tmp_path: Path, conversions: Counter, blob: str
) -> None:
    other = models(tmp_path).of(module(seed=1), "float32")
    run(other, seed=1)
    kept = models(tmp_path).of(module(), "float32")
    kept.keep(SHAPE, (other.read(SHAPE) or b"") if blob == "of other weights" else b"none at all")
    assert kept.read(SHAPE) is not None
    torch.testing.assert_close(run(kept), module()(images()), atol=1e-5, rtol=1e-4)
    assert conversions.count == 2
    run(kept)
    assert conversions.count == 2


def test_a_conversion_that_does_not_agree_is_not_kept(tmp_path: Path) -> None:
    run(models(tmp_path, agreement=Decibels(bound=1000.0)).of(module(), "bfloat16"))
    assert blobs(tmp_path) == []


@pytest.mark.parametrize("harm", ["open to others", "a link", "another user's"])
def test_a_folder_that_is_not_the_users_alone_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    kept = models(tmp_path).of(module(), "float32")
    kept.keep(SHAPE, b"here")
    if harm == "open to others":
        (tmp_path / "models").chmod(0o750)
    elif harm == "a link":
        (tmp_path / "models").rename(tmp_path / "real")
        (tmp_path / "models").symlink_to(tmp_path / "real")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert kept.read(SHAPE) is None
    kept.keep((1, 3, 8, 8), b"there")
    assert len(blobs(tmp_path)) == 1


def test_the_oldest_make_room_and_what_the_cache_did_not_write_stays(tmp_path: Path) -> None:
    at = models(tmp_path, most_bytes=2600)
    kept = at.of(module(), "float32")
    (tmp_path / "models").mkdir(mode=0o700)
    named = tmp_path / "models" / f"openvino-{'0' * 64}.blob"
    foreign = [named, tmp_path / "models/notes.txt"]
    for file in foreign:
        file.write_bytes(b"x" * 5000)
    for height in (1, 2, 3):
        kept.keep((1, 3, height, 1), b"x" * 1000)
        for file in blobs(tmp_path):
            os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - 10**9))
        if height == 2:
            assert kept.read((1, 3, 1, 1)) is not None  # used after the second
    assert [kept.read((1, 3, height, 1)) is not None for height in (1, 2, 3)] == [True, False, True]
    assert all(file.stat().st_size == 5000 for file in foreign)
    kept.keep((1, 3, 4, 1), b"x" * 3000)  # larger than all of it: nothing has to go for it
    assert [kept.read((1, 3, height, 1)) is not None for height in (1, 3, 4)] == [True, True, False]


def test_what_a_killed_worker_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    kept = models(tmp_path).of(module(), "float32")
    kept.keep(SHAPE, b"here")
    parts = [tmp_path / "models" / f".openvino-{'0' * 64}.{digit * 32}.part" for digit in "ab"]
    for part in parts:
        part.write_bytes(b"half")
    os.utime(parts[0], (0, 0))
    kept.keep((1, 3, 8, 8), b"here")
    assert [part.exists() for part in parts] == [False, True]


def test_nothing_is_kept_where_the_disk_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted_models, "SPARE_DISK_BYTES", 1 << 62)
    run(models(tmp_path).of(module(), "float32"))
    assert blobs(tmp_path) == []


def _of_a_worker(folder: str) -> list[float]:
    return run(models(Path(folder)).of(module(), "float32")).flatten().tolist()  # pyright: ignore


def test_workers_that_start_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = pool.map(_of_a_worker, [str(tmp_path)] * 4, chunksize=1)
    assert len(blobs(tmp_path)) == len(list((tmp_path / "models").iterdir())) == 1
    assert made == [_of_a_worker(str(tmp_path))] * 4
    assert len(blobs(tmp_path)) == 1  # this process has the same names as they


def test_a_size_that_was_kept_is_used_at_once(tmp_path: Path, conversions: Counter) -> None:
    def never(images_BCHW: Tensor) -> Tensor:
        raise AssertionError(f"{tuple(images_BCHW.shape)} came to PyTorch")

    at = models(tmp_path)
    first = OpenVinoBySize(module(), module(), "float32", 1, SizeRules(0.0), at)(images())
    assert conversions.count == 1
    rules = SizeRules(repays_after_s=1e9, agreement=Cosine(0.999))
    assert torch.equal(OpenVinoBySize(module(), never, "float32", 1, rules, at)(images()), first)
    assert conversions.count == 1
    with pytest.raises(AssertionError, match="came to PyTorch"):
        OpenVinoBySize(module(), never, "float32", 1, rules, at)(images((1, 3, 16, 8)))


@pytest.mark.parametrize("is_of_any_size", [False, True])
def test_a_worker_keeps_beside_its_settings_and_one_without_a_cache_nowhere(
    tmp_path: Path, conversions: Counter, is_of_any_size: bool
) -> None:
    network = PixelNetwork(module(), (0.5,) * 3, (0.2,) * 3, None if is_of_any_size else 8)

    def outputs(cache_dir: Path | None) -> Tensor:
        pins = Pins(precision="float32", backend="openvino")
        tuned = TunedNetwork(
            network, "k", base=BY_OPENVINO, pins=pins, agreement=Cosine(), cache_dir=cache_dir, job_images=2
        )
        return tuned((images() * 255).byte())

    alone = outputs(None)
    assert list(tmp_path.iterdir()) == []
    first, second = outputs(tmp_path), outputs(tmp_path)
    assert conversions.count == 2
    assert torch.equal(alone, first)
    assert torch.equal(first, second)
    assert len(blobs(tmp_path)) == 1


def test_an_executor_alone_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted_models, "_write", lambda *_: pytest.fail("it keeps"))
    monkeypatch.chdir(tmp_path)
    Executor(PixelNetwork(module(), (0.5,) * 3, (0.2,) * 3, 8), BY_OPENVINO)((images() * 255).byte())
