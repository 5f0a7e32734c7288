"""How a training divides its data: a folder that a training began in keeps the protocol that it began under."""

from __future__ import annotations

from typing import Literal

Protocol = Literal[1, 2]
"""1 selects the best step on the only held-out part and reports figures on the same; 2 keeps a test part apart."""

TESTED: Protocol = 2
