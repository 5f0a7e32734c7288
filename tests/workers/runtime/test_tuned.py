"""A network finds its settings on its first batch, once, and says how it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Pins, Settings
from pixelmill.workers.runtime.tuned import TunedNetwork
from tests.small_networks import network, pictures

NO_PINS = Pins()


def tuned(cache_dir: Path | None = None, job_images: int = 1000, pins: Pins = NO_PINS, key: str = "k") -> TunedNetwork:
    return TunedNetwork(
        network(),
        key,
        base=Settings(),
        pins=pins,
        agreement=Cosine(),
        cache_dir=cache_dir,
        job_images=job_images,
    )


def test_settings_are_chosen_on_the_first_batch_and_kept_for_the_next_worker(tmp_path: Path) -> None:
    first = tuned(tmp_path)
    assert (first.settings, first.choice, first.trials()) == ({}, None, [])
    made = first(pictures())
    assert torch.allclose(made, Executor(network(), Settings())(pictures()), atol=0.05)
    assert first.settings["chosen"] == "probed"
    assert first.trials()
    assert all("cosine 1.0" in line or "cosine 0.99" in line for line in first.trials())
    second, other = tuned(tmp_path), tuned(tmp_path, key="another network")
    second(pictures())
    other(pictures())
    assert (second.settings["chosen"], other.settings["chosen"]) == ("cached", "probed")
    assert second.batch == first.batch


def test_a_pinned_batch_is_wanted_before_and_after_the_first() -> None:
    pinned = tuned(job_images=10, pins=Pins(microbatch=5))
    assert pinned.batch == 5
    pinned(pictures())
    assert (pinned.batch, pinned.settings["chosen"]) == (5, "pinned")


def test_settings_are_chosen_on_samples_before_the_first_batch_and_a_pass_takes_any_number() -> None:
    chosen = tuned(job_images=10)
    chosen.choose(pictures(2), pictures_each=100)
    assert chosen.settings["chosen"] == "probed"  # ten pictures, each as much work as a hundred samples
    assert chosen.in_one_pass(pictures(200)).shape == (200, 8)
    assert chosen.pinned_batch is None
    assert tuned(pins=Pins(microbatch=5)).pinned_batch == 5


def test_the_licence_and_the_quantization_of_its_weights_stand_in_its_settings_where_they_are_known() -> None:
    options: dict[str, Any] = {
        "base": Settings(),
        "pins": NO_PINS,
        "agreement": Cosine(),
        "cache_dir": None,
        "job_images": 1,
    }
    licensed = TunedNetwork(replace(network(), licence="cc-by-nc-4.0", quantized="int8"), "k", **options)
    assert licensed.settings == {}
    licensed(pictures())
    assert (licensed.settings["licence"], licensed.settings["quantized"]) == ("cc-by-nc-4.0", "int8")
    unknown = tuned(job_images=1)
    unknown(pictures())
    assert not {"licence", "quantized"} & unknown.settings.keys()
