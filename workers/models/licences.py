"""Licences of weights: which of them keep a user from earning with what a model makes. Imports no torch."""

from __future__ import annotations

import re

_RESTRICTED = re.compile(r"\bnc\b|non[ -]?commercial|\bresearch\b|\bacademic\b|\bamlr\b|personal use", re.IGNORECASE)


def is_restricted(licence: str) -> bool:
    """Whether the name of a licence says that commercial use is not granted. One that does not say so may still have terms."""
    return _RESTRICTED.search(licence.replace("_", "-")) is not None


def licence_warning(stage: str, licence: str) -> str | None:
    """What a person should know of the licence of a stage's weights before the output is used; None where there is nothing."""
    if not is_restricted(licence):
        return None
    return (
        f"{stage}: the weights of its model are licensed as {licence}, which does not grant commercial use; that may hold for "
        "what it makes, too"
    )
