"""The available memory: the machine's, or the limit of a control group of either version."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pixelmill.workers.runtime import memory
from pixelmill.workers.runtime.memory import LEAST_FOR_PICTURES, Trimmer, for_pictures, limit_bytes

TOTAL = psutil.virtual_memory().total
V1, V2 = "memory.limit_in_bytes", "memory.max"


def machine(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("", {}, TOTAL),
        ("0::/\n", {}, TOTAL),
        ("0::/\n", {V2: "1000000"}, 1_000_000),
        ("0::/a/b\n", {f"a/b/{V2}": "max", f"a/{V2}": "5000", V2: "7000"}, 5000),
        ("0::/a/b\n", {f"a/b/{V2}": "max"}, TOTAL),
        ("0::/../../kubepods/pod\n", {V2: "123"}, 123),
        ("0::/seen/from/outside\n", {V2: "123"}, 123),
        ("5:cpu:/x\n4:memory:/docker/1\n", {f"memory/{V1}": "9223372036854771712"}, TOTAL),
        ("4:memory:/docker/1\n", {f"memory/docker/1/{V1}": "99", f"memory/{V1}": "9223372036854771712"}, 99),
        ("4:cpu,memory:/\n0::/\n", {f"memory/{V1}": "77"}, 77),
        ("5:cpu:/x\n", {f"memory/{V1}": "77"}, TOTAL),
    ],
)
def test_the_least_limit_on_the_way_up_counts(tmp_path: Path, cgroup: str, files: dict[str, str], limit: int) -> None:
    assert limit_bytes(machine(tmp_path, cgroup, files)) == limit


def test_a_machine_without_control_groups_has_its_memory(tmp_path: Path) -> None:
    assert limit_bytes(tmp_path) == TOTAL


def test_the_memory_that_the_process_uses_already_is_not_available_for_pictures() -> None:
    held = psutil.Process().memory_info().rss
    assert for_pictures(100 << 30) < (75 << 30) - held // 2
    assert for_pictures(0) == LEAST_FOR_PICTURES


FRAGMENTS = """
import ctypes, sys
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from pixelmill.workers.runtime.memory import Trimmer, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(ctypes.c_size_t(1 << 20)) for _ in range(300)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 20)
for block in blocks[::2]:
    libc.free(block)
before, trimmer = resident(), Trimmer(1000, large_bytes=400)
trimmed = [trimmer.before(count) for count in (400, 399, 399, 400, 399, 400)]
print(before - resident(), trimmed)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone has it")
def test_freed_memory_between_other_blocks_is_given_back_after_so_many_bytes_of_large_pictures() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, check=True)
    freed_bytes, _, trimmed = done.stdout.partition(" ")
    assert int(freed_bytes) > 100 << 20
    assert json.loads(trimmed.lower()) == [False, False, False, False, False, True]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone has it")
def test_nothing_is_given_back_for_a_picture_that_fits_below_an_earlier_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([1000, 600, 600, 600])
    monkeypatch.setattr(memory, "used_bytes", lambda: next(used))
    trimmer = Trimmer(every_bytes=1, large_bytes=1)
    assert [trimmer.before(count) for count in (1, 100, 400, 401)] == [True, False, False, True]
