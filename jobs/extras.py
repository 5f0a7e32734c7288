"""Packages that an installation may lack: what only training, only the demo or only the models of one library need comes
with an extra of that name."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pixelmill.workers.errors import JobError

Extra = Literal["train", "demo", "timm", "hf", "spandrel", "open_clip", "onnx", "quantize", "ct", "cpu", "serve"]
PACKAGES: dict[Extra, tuple[str, ...]] = {
    "train": ("matplotlib", "scipy", "skimage", "sklearn", "tensorboardX", "torchmetrics"),
    "demo": ("skimage",),
    "timm": ("timm",),
    "hf": ("transformers",),
    "spandrel": ("spandrel",),
    "open_clip": ("open_clip",),
    "onnx": ("onnxruntime",),
    "quantize": ("onnx", "onnxruntime"),
    "cpu": ("openvino",),
    "serve": ("duckdb", "starlette", "uvicorn"),
    "ct": ("pydicom", "gdcm", "jpeg_ls", "openjpeg", "rle", "nibabel"),
}
"""By their import names. No module imports them at its top."""


def require(extra: Extra, doing: str) -> None:
    """Raises JobError, before anything is started, where a package of the extra is not installed."""
    missing = [name for name in PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise JobError(
            f"{doing}: needs packages that are not installed here ({', '.join(missing)}); pip install 'pixelmill[{extra}]'"
        )
