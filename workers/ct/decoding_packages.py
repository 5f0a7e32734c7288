"""Which packages that decode the pixels of DICOM objects are installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

_MODULES = {
    "python-gdcm": "gdcm",
    "pyjpegls": "jpeg_ls",
    "pylibjpeg-openjpeg": "openjpeg",
    "pylibjpeg-rle": "rle",
    "pylibjpeg-libjpeg": "libjpeg",
}


@cache
def installed_packages() -> frozenset[str]:
    """The names on PyPI of those that can be imported here."""
    return frozenset(package for package, module in _MODULES.items() if find_spec(module) is not None)
