"""Keyed ids: the same patient, series or object gets the same id everywhere, and nobody without the key can guess it."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from pixelmill.workers.errors import JobError

IdKind = Literal["patient", "series", "object", "scanner", "frame"]
LEAST_KEY_BYTES = 16
_ID_BYTES = 16


@dataclass(frozen=True, repr=False)
class IdKey:
    """The secret from which ids are made. It is never shown: not by repr, not in a message, not in an output."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < LEAST_KEY_BYTES:
            raise JobError(
                f"the key of the ids has {len(self.secret)} bytes, and {LEAST_KEY_BYTES} are the least; "
                "make one with: head -c 32 /dev/urandom | base64"
            )

    def __repr__(self) -> str:
        return f"IdKey(fingerprint={self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell one key from another, and do not reveal it."""
        return hmac.new(self.secret, b"pixelmill key fingerprint", hashlib.sha256).hexdigest()[:16]

    def id_of(self, kind: IdKind, *parts: str) -> str:
        """128 bits of HMAC-SHA256 over the kind and the parts, as 32 hexadecimal digits."""
        message = "\0".join((kind, *(part.replace("\\", "\\\\").replace("\0", "\\0") for part in parts)))
        return (
            hmac.new(self.secret, message.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()[:_ID_BYTES].hex()
        )
