"""A plan names the model, and for this machine also the columns and the measured settings."""

from __future__ import annotations

import pytest

from pixelmill.workers.stages import StageContext, config_class
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
