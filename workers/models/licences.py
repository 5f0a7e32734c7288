"""Licences of weights: recognise those that do not grant commercial use. Imports no torch."""

from __future__ import annotations

import re

_RESTRICTED = re.compile(r"\bnc\b|non[ -]?commercial|\bresearch\b|\bacademic\b|\bamlr\b|personal use", re.IGNORECASE)


def is_restricted(licence: str) -> bool:
    """Whether the name of a licence excludes commercial use. Other licences may still have conditions."""
    return _RESTRICTED.search(licence.replace("_", "-")) is not None


def licence_warning(stage: str, licence: str) -> str | None:
    """A note for the user about the licence of a stage's weights; None if nothing in its name excludes commercial use."""
    if not is_restricted(licence):
        return None
    return (
        f"{stage}: the weights of its model are licensed as {licence}, which does not grant commercial use; that may "
        "apply to its output too"
    )
