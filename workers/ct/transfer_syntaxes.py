"""Transfer syntaxes of DICOM: which package decodes each, and which have no decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEFLATED = "1.2.840.10008.1.2.1.99"
Package = Literal["", "python-gdcm", "pyjpegls", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pylibjpeg-libjpeg"]


@dataclass(frozen=True)
class TransferSyntax:
    """The name of a transfer syntax; `packages` can decode it, any of them, and none is needed where it is empty.
    `is_supported`: any package that this project uses decodes it.
    """

    name: str
    packages: tuple[Package, ...] = ()
    is_supported: bool = True


_PREFIX = "1.2.840.10008.1.2"
SYNTAXES: dict[str, TransferSyntax] = {
    _PREFIX: TransferSyntax("Implicit VR Little Endian"),
    f"{_PREFIX}.1": TransferSyntax("Explicit VR Little Endian"),
    DEFLATED: TransferSyntax("Deflated Explicit VR Little Endian"),
    f"{_PREFIX}.2": TransferSyntax("Explicit VR Big Endian"),
    f"{_PREFIX}.5": TransferSyntax("RLE Lossless"),
    f"{_PREFIX}.4.50": TransferSyntax("JPEG Baseline (process 1)", ("python-gdcm",)),
    f"{_PREFIX}.4.51": TransferSyntax("JPEG Extended (process 2 and 4)", ("python-gdcm",)),
    f"{_PREFIX}.4.53": TransferSyntax("JPEG Spectral Selection (process 6 and 8)", is_supported=False),
    f"{_PREFIX}.4.55": TransferSyntax("JPEG Full Progression (process 10 and 12)", is_supported=False),
    f"{_PREFIX}.4.57": TransferSyntax("JPEG Lossless (process 14)", ("python-gdcm",)),
    f"{_PREFIX}.4.70": TransferSyntax("JPEG Lossless SV1 (process 14)", ("python-gdcm",)),
    f"{_PREFIX}.4.80": TransferSyntax("JPEG-LS Lossless", ("pyjpegls", "python-gdcm")),
    f"{_PREFIX}.4.81": TransferSyntax("JPEG-LS Near-lossless", ("pyjpegls", "python-gdcm")),
    f"{_PREFIX}.4.90": TransferSyntax("JPEG 2000 Lossless", ("pylibjpeg-openjpeg", "python-gdcm")),
    f"{_PREFIX}.4.91": TransferSyntax("JPEG 2000", ("pylibjpeg-openjpeg", "python-gdcm")),
    f"{_PREFIX}.4.201": TransferSyntax("HTJ2K Lossless", ("pylibjpeg-openjpeg",)),
    f"{_PREFIX}.4.202": TransferSyntax("HTJ2K Lossless RPCL", ("pylibjpeg-openjpeg",)),
    f"{_PREFIX}.4.203": TransferSyntax("HTJ2K", ("pylibjpeg-openjpeg",)),
}
"""By uid. RLE is decoded by pydicom itself, slowly; pylibjpeg-rle is faster where it is installed."""


_PRIVATE = frozenset(
    {"1.2.840.113619.5.2", f"{_PREFIX}.4.92", f"{_PREFIX}.4.93", f"{_PREFIX}.4.100", f"{_PREFIX}.4.102"}
)
"""Others that are known by name: a uid that is not is text of a header, which is copied nowhere."""
JPEG_EXTENDED = f"{_PREFIX}.4.51"
GPL_DECODER: Package = "pylibjpeg-libjpeg"
"""Its licence is GPLv3: it is the user's choice, and no extra brings it."""


def refusal_of(uid: str, installed: frozenset[str], bits: int) -> str | None:
    """Why pixels of so many bits in this transfer syntax can't be decoded with the `installed` packages; None where they
    can."""
    if uid == "":
        return None  # no meta header: the default of DICOM
    syntax = SYNTAXES.get(uid)
    if syntax is None:
        named = uid if uid in _PRIVATE else "that is private or malformed"
        return f"transfer syntax {named} is unknown; convert the object to another"
    if not syntax.is_supported:
        return f"transfer syntax {syntax.name} ({uid}) has no decoder; convert the object, for example with dcmdjpeg"
    if uid == JPEG_EXTENDED and bits > 8 and GPL_DECODER not in installed:
        return (
            f"transfer syntax {syntax.name} ({uid}) with {bits} bits has no decoder of a permissive licence; convert the "
            f"object, or pip install pylibjpeg {GPL_DECODER} (GPLv3)"
        )
    if syntax.packages and not installed & set(syntax.packages):
        return f"transfer syntax {syntax.name} ({uid}) needs a decoder: pip install {syntax.packages[0]}"
    return None
