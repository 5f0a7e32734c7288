"""A process of its own makes the same batches as a thread, is there only while they are used, and may die."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import batch_process
from pixelmill.pipelines.training import batches as made_ahead
from pixelmill.pipelines.training.batch_process import made_beside
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches, Made
from pixelmill.pipelines.training.device_batches import maker_of
from pixelmill.pipelines.training.layouts.registry import find
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Batch, Sample
from pixelmill.workers.recipes.registry import RECIPES, recipe_type
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.in_process_training import training_of
from tests.pipelines.training.test_waiting import ROUGHLY, SLIM, make_assets, make_data
from tests.pipelines.training.trainings import SETTINGS

pytestmark = pytest.mark.skipif(not batch_process.can_fork(), reason="batches are made on threads here")

REPOSITORY = Path(__file__).parents[3]
STEPS = range(3, 60)


class Told(VaeRecipe):
    """Says in each batch which process made it; counts its batches where all processes see it."""

    fails_at, slow_s = -1, 0.0

    def __init__(self, settings: Any, assets: Any) -> None:
        super().__init__(settings, assets)
        self.count = torch.frombuffer(mmap.mmap(-1, 8), dtype=torch.int64)

    def batch(self, samples: list[Sample], random: np.random.Generator) -> Batch:
        number = int(random.integers(1 << 40))
        if int(samples[0]["number"]) == self.fails_at:
            raise DataError("a sample is broken")
        time.sleep(self.slow_s)
        self.count += 1
        return {"pid": torch.tensor([os.getpid()]), "number": torch.tensor([number])}


def told(**settings: Any) -> Told:
    recipe = Told(Told.Settings(**SETTINGS), {})
    for name, value in settings.items():
        setattr(recipe, name, value)
    return recipe


def batches_of(recipe: Told, threads: int = 1) -> Batches:
    source = Memory([{"number": np.array(number)} for number in range(500)])
    return Batches(source, recipe, SampleOrder(500, 0), BatchShare(1), threads)


def pid_of(made: Made) -> int:
    return int(made[1][0]["pid"])


def number_of(made: Made) -> int:
    return int(made[1][0]["number"])


def never(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(autouse=True)
def small_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_ahead, "BURST", 4)
    monkeypatch.setattr(made_ahead, "BURST_S", 60.0)


def is_gone(pid: int) -> bool:
    """Whether a process has ended and was waited for."""
    deadline_s = time.monotonic() + 20
    while psutil.pid_exists(pid):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_from_one_other_process_in_order(threads: int) -> None:
    expected = [(indices.tolist(), number_of((indices, passes))) for indices, passes in batches_of(told())(STEPS)]
    found, pids = list[tuple[list[int], int]](), list[int]()
    for made in made_beside(batches_of(told(), threads), STEPS, never):
        found.append((made[0].tolist(), number_of(made)))
        pids.append(pid_of(made))
    assert found == expected
    assert set(pids[:8]) == {os.getpid()}
    assert len(set(pids[8:])) == 1
    assert pids[8] != os.getpid()
    assert is_gone(pids[8])


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_batches_of_every_recipe_have_the_same_bits_and_layout(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_ahead, "BURST", 2)
    data, assets = make_data(tmp_path / "data", name), make_assets(tmp_path / "assets", name)
    found = find(recipe_type(name).ROLES, [data], Access())
    settings = {**ROUGHLY, **SLIM[name], **{key: str(path) for key, path in assets.items()}, "steps": 9}
    training = training_of(name, settings, found, None, tmp_path / "out", 1, assets=assets)
    order = training.samples.order(training.settings.seed, training.progress.in_blocks)
    make = maker_of(training.recipe, training.device)
    expected = list(Batches(training.samples, training.recipe, order, training.share, 1, make)(range(9)))
    forks = counted_forks(monkeypatch)
    for (indices, passes), (expected_indices, expected_passes) in zip(
        training.batches(range(9)), expected, strict=True
    ):
        assert indices.tolist() == expected_indices.tolist()
        for batch, expected_batch in zip(passes, expected_passes, strict=True):
            assert list(batch) == list(expected_batch)
            assert all(is_same(batch[each], expected_batch[each]) for each in batch)
    assert forks == [1]


def is_same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)


def counted_forks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of forks, in a list of one."""
    counts, fork = [0], os.fork

    def counting() -> int:
        counts[0] += 1
        return fork()

    monkeypatch.setattr(os, "fork", counting)
    return counts


def test_tensors_of_every_kind_come_through_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {
        "half": torch.randn(3, 4).to(torch.bfloat16),
        "flags": torch.rand(7) > 0.5,
        "scalar": torch.tensor(3.5, dtype=torch.float64),
        "nothing": torch.empty(0, 4, dtype=torch.uint8),
        "pictures": torch.randn(2, 3, 5, 7).contiguous(memory_format=torch.channels_last),
        "volumes": torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d),
        "turned": torch.randn(4, 5).t(),
    }
    monkeypatch.setattr(Told, "batch", lambda *_: kinds)
    for _, (batch,) in islice(made_beside(batches_of(told()), STEPS, never), 8, None):
        assert all(is_same(batch[name], kinds[name]) for name in kinds)
        assert not any(batch[name].data_ptr() == kinds[name].data_ptr() for name in kinds if kinds[name].numel())
        assert all(batch[name].data_ptr() % 64 == 0 for name in kinds if kinds[name].numel())


@pytest.mark.parametrize("tensor", [torch.ones(4, 10)[:, ::2], torch.ones(4, 1).expand(4, 6)])
def test_a_layout_with_gaps_is_kept_by_a_thread(tensor: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "batch", lambda *_: {"it": tensor})
    strides = {batch["it"].stride() for _, (batch,) in made_beside(batches_of(told()), STEPS, never)}
    assert strides == {tensor.stride()}


def test_a_process_that_is_killed_costs_no_batch_and_is_named() -> None:
    expected = [number_of(made) for made in batches_of(told())(STEPS)]
    said, numbers, pids = list[str](), list[int](), list[int]()
    for made in made_beside(batches_of(told()), STEPS, said.append):
        numbers.append(number_of(made))
        pids.append(pid_of(made))
        if len(numbers) == 10:
            os.kill(pids[-1], signal.SIGKILL)
    assert numbers == expected
    assert pids[-1] == os.getpid()
    assert len(said) == 1
    assert "is gone; they are made on a thread from here on" in said[0]
    assert is_gone(pids[9])


def test_an_error_comes_at_its_step_from_the_process_that_trains() -> None:
    broken = next(batches_of(told())(range(20, 21)))[0].item()
    stream = made_beside(batches_of(told(fails_at=broken)), range(60), never)
    assert len([number_of(made) for made in islice(stream, 20)]) == 20
    with pytest.raises(DataError, match="a sample is broken"):
        next(stream)


def test_it_ends_with_the_loop_that_uses_it() -> None:
    stream = made_beside(batches_of(told()), range(400), never)
    pids = [pid_of(next(stream)) for _ in range(12)]
    assert pids[-1] != os.getpid()
    assert psutil.pid_exists(pids[-1])
    stream.close()  # type: ignore[attr-defined]
    assert is_gone(pids[-1])


def test_it_makes_no_more_than_what_memory_is_shared_for() -> None:
    recipe = told()
    stream = made_beside(batches_of(recipe), range(400), never)
    for _ in range(9):
        next(stream)
    deadline_s = time.monotonic() + 20
    while int(recipe.count) < 8 + 4 * batch_process.SLOTS and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.3)
    assert int(recipe.count) == 8 + 4 * batch_process.SLOTS


def test_ctrl_c_leaves_the_decision_to_the_process_that_trains() -> None:
    stream = made_beside(batches_of(told()), STEPS, never)
    pids = [pid_of(next(stream)) for _ in range(10)]
    os.kill(pids[-1], signal.SIGINT)
    rest = [pid_of(made) for made in stream]
    assert len(rest) == len(STEPS) - 10
    assert set(rest) == {pids[-1]}


@pytest.mark.parametrize("slot_bytes", [40, 400])
def test_batches_that_do_not_fit_are_made_on_a_thread(slot_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [number_of(made) for made in batches_of(told())(STEPS)]
    monkeypatch.setattr(batch_process, "SLOT_BYTES", slot_bytes)
    made = [(number_of(made), pid_of(made)) for made in made_beside(batches_of(told()), STEPS, never)]
    assert [number for number, _ in made] == expected
    assert made[-1][1] == os.getpid()


def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    monkeypatch.setattr(made_ahead, "BURST_S", 0.02)
    return made_beside(batches_of(told(slow_s=0.03)), range(6), never)


def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    return made_beside(batches_of(told()), range(6), never)


def unable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    monkeypatch.setattr(batch_process, "can_fork", lambda: False)
    return made_beside(batches_of(told()), range(40), never)


@pytest.mark.parametrize("case", [slow, few, unable])
def test_where_it_does_not_pay_or_can_not_be_there_is_none(
    case: Callable[[pytest.MonkeyPatch], Iterator[Made]], monkeypatch: pytest.MonkeyPatch
) -> None:
    forks = counted_forks(monkeypatch)
    assert {pid_of(made) for made in case(monkeypatch)} == {os.getpid()}
    assert forks == [0]


def test_a_machine_that_admits_no_more_processes_makes_them_on_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    files = len(os.listdir("/proc/self/fd"))
    said: list[str] = []
    assert len([number_of(made) for made in made_beside(batches_of(told()), STEPS, said.append)]) == len(STEPS)
    assert said == [
        "no process could be started to make the batches (Resource temporarily unavailable); they are made on a thread"
    ]
    assert len(os.listdir("/proc/self/fd")) == files


ORPHAN = """
import itertools, time
import ray._raylet
from tests.pipelines.training.test_batch_process import batches_of, made_beside, never, pid_of, told
ray._raylet.setproctitle("ray::RayTrainWorker")
stream = made_beside(batches_of(told()), range(400), never)
pids = [pid_of(made) for made in itertools.islice(stream, 40)]
print(pids[-1], flush=True)
time.sleep(60)
"""


def test_it_ends_when_the_process_that_trains_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=REPOSITORY, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert pid != parent.pid
        assert [each.cmdline()[0] for each in (psutil.Process(parent.pid), psutil.Process(pid))] == [
            "ray::RayTrainWorker",
            batch_process.TITLE,
        ]
        parent.kill()
        parent.wait()
        assert is_gone(pid)


def test_a_process_that_another_has_waited_for_is_not_killed_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = made_beside(batches_of(told()), range(400), never)
    pid = [pid_of(next(stream)) for _ in range(12)][-1]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    monkeypatch.setattr(os, "kill", lambda *given: pytest.fail(f"{given} may be another process's by now"))
    stream.close()  # type: ignore[attr-defined]


def test_signals_are_held_back_only_while_it_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    def masked() -> set[signal.Signals | int]:
        return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    during: list[set[signal.Signals | int]] = []
    said, fork = list[str](), os.fork
    monkeypatch.setattr(os, "fork", lambda: (during.append(masked()), fork())[1])
    stream = made_beside(batches_of(told()), range(400), said.append)
    pid = [pid_of(next(stream)) for _ in range(12)][-1]
    assert during[0] >= {signal.SIGINT, signal.SIGTERM}
    assert not masked() & {signal.SIGINT, signal.SIGTERM}
    os.kill(pid, signal.SIGTERM)  # which ends the fork: nothing is held back there either
    assert pid_of(list(stream)[-1]) == os.getpid()
    assert len(said) == 1


class Hanging(Told):
    """Never ends a batch in another process."""

    def batch(self, samples: list[Sample], random: np.random.Generator) -> Batch:
        if os.getpid() != self.home:
            time.sleep(600)
        return super().batch(samples, random)

    home = -1


def test_one_that_hangs_holds_nobody_up() -> None:
    recipe = Hanging(Hanging.Settings(**SETTINGS), {})
    recipe.home = os.getpid()
    stream = made_beside(batches_of(recipe), range(400), never)
    assert {pid_of(next(stream)) for _ in range(8)} == {os.getpid()}
    began_s = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began_s < 60
