"""The name of a processor is the same at every call, and holds nothing that changes while a machine runs."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pixelmill.workers.runtime import processor
from pixelmill.workers.runtime.processor import has_amx, processor_name

CPUINFO = """processor : 0
model name : Xeon
cpu MHz : {mhz}
flags : fpu avx2
processor : 1
model name : Xeon
cpu MHz : {mhz}
flags : fpu avx2{more}
"""


def name_for(path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> str:
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(processor, "Path", lambda _: path)
    return processor_name()


def test_features_count_and_the_clock_of_the_moment_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        name_for(tmp_path / "cpuinfo", monkeypatch, CPUINFO.format(mhz=mhz, more=more))
        for mhz, more in ((2000, ""), (3100.5, ""), (2000, " amx_bf16"))
    ]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("text", [None, "processor : 0\nFeatures : fp asimd\n"], ids=["no list", "of ARM"])
def test_where_the_kernel_lists_no_model_the_platform_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    assert name_for(tmp_path / "cpuinfo", monkeypatch, text) == f"{platform.machine()} {platform.processor()}"


@pytest.mark.parametrize(("features", "expected"), [(" amx_tile amx_bf16", True), (" avx512_bf16 amx_tile", False)])
def test_amx_is_a_feature_that_the_kernel_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str, expected: bool
) -> None:
    name_for(tmp_path / "cpuinfo", monkeypatch, CPUINFO.format(mhz=2000, more=features))
    assert has_amx() is expected
    name_for(tmp_path / "absent", monkeypatch, None)
    assert not has_amx()


def test_this_machine_has_one_name() -> None:
    assert processor_name() == processor_name() != ""
