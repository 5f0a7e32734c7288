"""What an installation may lack: packages that only training or the demo need come with an extra of that name."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pixelmill.workers.errors import JobError

Extra = Literal["train", "demo"]
PACKAGES: dict[Extra, tuple[str, ...]] = {
    "train": ("matplotlib", "scipy", "skimage", "sklearn", "tensorboardX", "torchmetrics"),
    "demo": ("skimage",),
}
"""By the names that they are imported by. Nothing imports them at the top of a module."""


def require(extra: Extra, doing: str) -> None:
    """JobError, before anything is started, where a package of the extra is not installed."""
    missing = [name for name in PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise JobError(
            f"{doing}: needs packages that are not installed here ({', '.join(missing)}); pip install 'pixelmill[{extra}]'"
        )
