"""A stage with one named model, from a library, a file, a folder or a store: its identity and its description in a plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.assets import AssetKind, is_remote
from pixelmill.workers.stages.kept_plans import KeptPlan
from pixelmill.workers.stages.network_options import NetworkStageConfig
from pixelmill.workers.stages.plan_lines import NetworkStage, plan_lines

if TYPE_CHECKING:
    from pixelmill.workers.models.picture_model import PictureModel


class ModelStageConfig(NetworkStageConfig):
    """A config with a key `model`; subclasses set its description and default."""

    task: ClassVar[Task]
    """The task that the model has to do."""

    model: str

    @abstractmethod
    def build(self, context: StageContext) -> NetworkStage: ...

    def assets(self) -> Mapping[str, AssetKind]:
        return {"model": "checkpoint"} if is_remote(self.model) else {}

    @contextmanager
    def resolved(self) -> Generator[ModelName]:
        """The complete name, whose files can be opened inside the `with` block. ModelError if there is no such model."""
        with self.located("model") as model:
            yield resolve(model, self.task)

    def known(self) -> ModelName | None:
        """The complete name; None if there is no such model, which `identity` reports."""
        try:
            with self.resolved() as name:
                return name
        except ModelError:
            return None

    def loaded(self) -> PictureModel:
        with self.resolved() as name:
            return load_model(name, self.task)

    def needs_trial(self) -> bool:
        """A card of ONNX states what only the network itself can confirm."""
        name = self.known()
        return super().needs_trial() or (name is not None and name.library == "onnx")

    def class_names(self) -> tuple[str, ...]:
        """As the card states them, or as the loaded model has them."""
        with self.resolved() as name:
            classes = name.classes or load_model(name, self.task).classes
        if classes is None:
            raise ModelError(f"model {self.model}: does not state its classes; choose one that does")
        return classes.names

    def identity(self) -> dict[str, object]:
        options = self.output_options()
        del options["model"]  # by its complete name, or the hash of its weights
        with self.resolved() as name:
            return {self.stage: options | name.identity}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        with self.resolved() as name:
            kept = KeptPlan(self, self.identity(), context) if here else None
            return plan_lines(name, lambda: self.build(context), here=here, kept=kept)
