"""What may change when a training is resumed, and what that means for its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pixelmill.jobs.training.job import TrainJob
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.checkpoints import TrainingProgress
from pixelmill.pipelines.training.worker import total_steps
from pixelmill.workers.errors import RunRefused
from pixelmill.workers.wording import counted

MAY_CHANGE: dict[str, str] = {
    "steps": "more: a training goes on, a finished one too, with the schedule of the new length; fewer: it ends earlier, "
    "but not before the step that it is resumed at",
    "epochs": "as steps",
    "patience": "evaluations without an improvement from here on; a training that ended by it goes on",
    "evaluate_every_steps": "evaluations from here on",
    "accumulate": "the same batches in more or fewer passes, for another amount of memory; batch normalisation takes its "
    "statistics from each pass",
}
"""What each change does. All other settings decide what the weights are, and with `init_from` a new training begins with them."""

LENGTH = frozenset({"steps", "epochs", "patience"})
"""The settings by which a complete training can go on."""


@dataclass(frozen=True)
class Resumption:
    """A training as its folder holds it and as the command asks for it; `before` is None where none has begun."""

    job: TrainJob
    before: TrainingProgress | None
    samples: int
    changed: frozenset[str]

    @cached_property
    def steps(self) -> int:
        """The steps of the whole training, as the command asks for it."""
        return total_steps(self.job.settings, self.samples)

    @property
    def step(self) -> int:
        """The step that it is resumed at."""
        return self.before.step if self.before else 0

    @property
    def is_over(self) -> bool:
        """Whether the training is complete at the length that the command asks for."""
        return self.before is not None and self.before.is_complete and self.steps == self.step

    def check(self, out: Folder) -> None:
        """Raises RunRefused where the schedule ends before the step that the training is resumed at."""
        if self.before is None or self.is_over or self.steps > self.step:
            return
        raise RunRefused(
            f"{out.uri}: the training is at step {self.step:,}, and the schedule would end at step {self.steps:,}; give "
            f"more than {self.step:,} steps, or choose another out"
        )

    def notes(self) -> list[str]:
        """What changes for a training of another length, for a person."""
        before = self.before
        if before is None or before.steps in (None, self.steps):
            return []
        recipe = self.job.recipe(self.job.settings, {})
        was, now = recipe.rate(self.step - 1, before.steps or self.steps), recipe.rate(self.step, self.steps)
        moves = f"jumps from {was:.3g} to {now:.3g}" if abs(was - now) > 0.01 else f"stays at {now:.3g}"
        return [
            f"the training goes on from step {self.step:,} to {self.steps:,} in place of {before.steps:,}; its schedule is "
            f"that of {counted(self.steps, 'step')} from here on: the factor of the learning rate {moves}"
        ]
