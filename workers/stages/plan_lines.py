"""Describe a stage with a network in a plan: model, columns, and settings if they can be measured on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Stage
from pixelmill.workers.stages.kept_plans import KeptPlan

if TYPE_CHECKING:
    from torch import Tensor

    from pixelmill.workers.runtime.tuned import TunedNetwork

MOST_TRIED = 64
"""Most noise pictures in a trial batch: a stage that takes pictures of any size has very large batches of small ones."""

NOISE_PX = 256
MOST_NAMED = 12
"""How many classes a plan names."""


class NetworkStage(Stage, Protocol):
    """A stage that chooses the settings of its network on its first run."""

    @property
    def network(self) -> TunedNetwork: ...


def plan_lines(
    name: ModelName, build: Callable[[], NetworkStage], *, here: bool, kept: KeptPlan | None = None
) -> list[str]:
    """The lines of a plan; with `here` the stage is built and run over a batch of noise in place of its first batch, unless what
    that says is `kept`."""
    lines = [", ".join(f"{key} {value}" for key, value in name.identity.items() if isinstance(value, str))]
    if name.classes is not None:
        names = name.classes.names
        lines.append(
            f"{len(names)} classes: {', '.join(names[:MOST_NAMED])}{', ...' if len(names) > MOST_NAMED else ''}"
        )
    if not here:
        return [*lines, "settings are chosen on the workers when the job starts"]
    measured = None if kept is None else kept.read()
    return [*lines, *(_measured(build(), kept) if measured is None else measured)]


def _measured(stage: NetworkStage, kept: KeptPlan | None) -> list[str]:
    """What a batch of noise shows, kept for the next plan where its settings are."""
    stage.run([stage.prepare(Picture(noise)) for noise in _noise(_count(stage))])
    settings = stage.network.cached_in
    if kept is not None and settings is not None:
        kept.keep(_lines_of(stage, {"chosen": "cached"}), settings)
    return _lines_of(stage, {})


def _lines_of(stage: NetworkStage, instead: Mapping[str, object]) -> list[str]:
    settings = {**stage.settings, **instead}
    lines = [f"column {field.name}: {field.type}" for field in stage.fields]
    lines.append("settings: " + ", ".join(f"{key} {value}" for key, value in settings.items()))
    return lines + [f"  tried {trial}" for trial in stage.network.trials()]


def _count(stage: Stage) -> int:
    """How many noise pictures make a batch."""
    most = MOST_TRIED if stage.batch_pixels is None else max(1, stage.batch_pixels // NOISE_PX**2)
    return min(stage.batch, most, MOST_TRIED)


def _noise(count: int) -> list[Tensor]:
    """Smooth noise, closer to a photograph than white noise, to try settings on before the first picture arrives."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse_BCHW = torch.rand(count, 3, 16, 16, generator=generator) * 255
    return list(torch.nn.functional.interpolate(coarse_BCHW, (NOISE_PX, NOISE_PX), mode="bicubic").clamp(0, 255).byte())
