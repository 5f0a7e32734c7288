"""TensorBoard: event files in OUT/tensorboard, one folder for each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracking
from pixelmill.pipelines.training.trackers.event_files import EventFiles


class Events(Protocol):
    """The part of TensorBoard's writer that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, *, dataformats: str) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Steps behind the checkpoint that an attempt resumes from are purged from view."""

    def __init__(self, folder: Folder, run: TrackedRun, tracking: Tracking) -> None:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingTypeStubs]

        self._files = EventFiles(folder, f"tensorboard/from-{run.resumed_at:08d}")
        self._writer: Events = SummaryWriter(self._files.path, purge_step=run.resumed_at + 1, write_to_disk=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, pixels_HWC: np.ndarray) -> None:
        self._writer.add_image("samples", pixels_HWC, step, dataformats="HWC")

    def publish(self) -> None:
        self._writer.flush()
        self._files.publish()

    def close(self) -> None:
        self._writer.close()  # waits for the writer's thread, which `flush` does not
        self._files.publish()
        self._files.remove()
