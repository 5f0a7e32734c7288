"""Packages that an installation may lack: what only training or only the demo needs comes with an extra of that
name."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pixelmill.workers.errors import JobError

Extra = Literal["train", "demo"]
PACKAGES: dict[Extra, tuple[str, ...]] = {
    "train": ("matplotlib", "scipy", "skimage", "sklearn", "tensorboardX", "torchmetrics"),
    "demo": ("skimage",),
}
"""By their import names. No module imports them at its top."""


def require(extra: Extra, doing: str) -> None:
    """Raises JobError, before anything is started, where a package of the extra is not installed."""
    missing = [name for name in PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise JobError(
            f"{doing}: needs packages that are not installed here ({', '.join(missing)}); pip install 'pixelmill[{extra}]'"
        )
