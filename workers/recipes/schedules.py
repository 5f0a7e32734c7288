"""The learning rate of each step: one choice of schedules for all recipes, each of which states its paper's as default."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat

ScheduleName = Literal["constant", "step", "poly", "cosine"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class ScheduleSettings(BaseModel):
    """`schedule` changes the learning rate from step to step: step multiplies it by `step_factor` after each of the shares
    `step_at` of the training; poly falls as (1 - step / steps) to the power `poly_power`, and cosine along half a cosine,
    both to the share `final_rate` of the learning rate. Before that the rate rises over `warmup_steps`, or, if they are 0, over
    the share `warmup_share` of the training.
    """

    schedule: ScheduleName = "constant"
    poly_power: PositiveFloat = 0.9
    step_at: tuple[Fraction, ...] = (0.6, 0.85)
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    final_rate: Share = 0.0
    warmup_steps: NonNegativeInt = 0
    warmup_share: Share = 0.0


def rate_at(settings: ScheduleSettings, step: int, steps: int, *, full_at: int | None = None) -> float:
    """The factor of the learning rate at `step`, counted from 0, of `steps`: in [0, 1].

    Warm-up reaches the full rate at its last step, whose number is `warmup_steps` - 1; `full_at` is another number of steps
    for a recipe that counts them otherwise.
    """
    over = warmup_steps_of(settings, steps) if full_at is None else full_at
    return min(1.0, (step + 1) / max(1, over)) * _SHAPES[settings.schedule](settings, step, steps)


def warmup_steps_of(settings: ScheduleSettings, steps: int) -> int:
    """The length of the warm-up in a training of so many steps."""
    return settings.warmup_steps or int(settings.warmup_share * steps)


def half_cosine(step: int, steps: int) -> float:
    """A factor that falls from 1 at the first step to 0 after the last."""
    return 0.5 + 0.5 * math.cos(math.pi * step / steps)


def _constant(_: ScheduleSettings, step: int, steps: int) -> float:
    return 1.0


def _step(settings: ScheduleSettings, step: int, steps: int) -> float:
    return settings.step_factor ** sum(step >= share * steps for share in settings.step_at)


def _poly(settings: ScheduleSettings, step: int, steps: int) -> float:
    return _above(settings.final_rate, (1 - step / steps) ** settings.poly_power)


def _cosine(settings: ScheduleSettings, step: int, steps: int) -> float:
    return _above(settings.final_rate, half_cosine(step, steps))


def _above(final: float, factor: float) -> float:
    return final + (1 - final) * factor


_SHAPES = {"constant": _constant, "step": _step, "poly": _poly, "cosine": _cosine}
