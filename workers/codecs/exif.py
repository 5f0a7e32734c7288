"""Read the orientation of a picture from its EXIF block."""

from __future__ import annotations

import struct


def exif_orientation(tiff: bytes) -> int:
    """EXIF tag 274 of the first directory, 1 to 8; 1 if the block is broken or has another value."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entry_count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entry_count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 274:
                (value,) = struct.unpack_from(order + {3: "H", 4: "I"}[kind], tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1
