"""Display colours of disparities.

Legend: C = 3 colours, H height, W width.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pixelmill.workers.typed_torch import from_numpy

MAGMA = ("000004", "1d1147", "51127c", "822681", "b63679", "e65164", "fb8861", "fec287", "fcfdbf")
"""Nine colours of matplotlib's magma, evenly spaced, from far to near."""


def coloured(values_HW: Tensor) -> Tensor:
    """uint8 CHW of values in [0, 1], from black over purple to light yellow."""
    table_NC = np.array([list(bytes.fromhex(colour)) for colour in MAGMA])
    at_HW = values_HW.clamp(0, 1).cpu().numpy() * (len(MAGMA) - 1)
    channels = [np.interp(at_HW, np.arange(len(MAGMA)), table_NC[:, channel]) for channel in range(3)]
    return from_numpy(np.stack(channels).round().astype(np.uint8))
