"""A plan names the model, and for this machine also the columns and the measured settings."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pixelmill.workers.stages import StageContext, config_class, plan_lines
from pixelmill.workers.stages.plan_lines import MOST_TRIED

LONG = StageContext(device="cpu", threads=1, job_images=1000, cache_dir=None)


@pytest.mark.parametrize(
    ("kind", "options", "measure"),
    [
        ("embed", {"model": "vae-mnist"}, "cosine"),
        ("encode", {"model": "vae-mnist"}, "cosine"),
        ("reconstruct", {"model": "vae-mnist"}, "dB"),
        ("depth", {}, "relative error"),
    ],
)
def test_a_plan_for_this_machine_says_columns_and_what_was_tried(
    kind: str, options: dict[str, object], measure: str
) -> None:
    config = config_class(kind).model_validate({**options, "precision": "float32", "channels_last": True, "batch": 4})
    lines = config.describe(LONG, here=True)
    model = "monodepth-kitti" if kind == "depth" else "vae-mnist"
    assert lines[0].startswith(f"model {model}, weights_sha256 ")
    assert [line.split()[1].rstrip(":") for line in lines if line.startswith("column ")] == list(config.columns())
    assert any("chosen probed" in line for line in lines)
    assert any("tried float32, channels_last, batch 4" in line and measure in line for line in lines)


def test_a_plan_for_elsewhere_loads_nothing() -> None:
    lines = config_class("depth").model_validate({}).describe(LONG, here=False)
    assert lines[1:] == ["settings are chosen on the workers when the job starts"]


def test_a_stage_that_wants_very_many_small_pictures_is_tried_on_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelmill.workers.stages.encode import Encode

    seen: list[int] = []
    run = Encode.run
    monkeypatch.setattr(Encode, "batch", property(lambda self: 10 * MOST_TRIED))
    monkeypatch.setattr(Encode, "run", lambda self, samples: (seen.append(len(samples)), run(self, samples))[1])
    config_class("encode").model_validate({"model": "vae-mnist"}).describe(LONG, here=True)
    assert seen == [MOST_TRIED]


def described(cache: Path, **options: object) -> list[str]:
    config = config_class("encode").model_validate({"model": "vae-mnist", **options})
    return config.describe(replace(LONG, cache_dir=cache), here=True)


def test_a_plan_whose_settings_are_cached_is_told_again_without_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = described(tmp_path)
    assert any("chosen probed" in line for line in first)
    monkeypatch.setattr(plan_lines, "_measured", lambda *_: ["built again"])
    again = described(tmp_path)
    assert again == [line.replace("chosen probed", "chosen cached") for line in first]
    assert described(tmp_path, column="another")[-1] == "built again", "another configuration"
    assert described(tmp_path / "elsewhere")[-1] == "built again"


def test_a_plan_is_made_anew_once_its_settings_were_chosen_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(tmp_path)
    (settings,) = [
        file for file in tmp_path.glob("*.json") if not file.name.startswith("plan-") and "trials" in file.read_text()
    ]
    monkeypatch.setattr(plan_lines, "_measured", lambda *_: ["built again"])
    assert described(tmp_path)[-1] != "built again"
    settings.write_text(settings.read_text().replace('"microbatch": ', '"microbatch":  '))
    assert described(tmp_path)[-1] == "built again"
    settings.unlink()
    assert described(tmp_path)[-1] == "built again"


def test_a_kept_plan_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pixelmill.workers.stages import StageContext, config_class\n"
        "context = StageContext('cpu', 1, 1000, Path(sys.argv[1]))\n"
        "lines = config_class('encode').model_validate({'model': 'vae-mnist'}).describe(context, here=True)\n"
        "print('torch' in sys.modules, len(lines))"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    first, again = (subprocess.run(words, check=True, capture_output=True, text=True).stdout.split() for _ in range(2))
    assert (first[0], again[0]) == ("True", "False")
    assert first[1] == again[1]
