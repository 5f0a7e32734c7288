"""Pair files by a pattern: DIR/{left/*.png,right/*.png}, an alternative for each role, in the roles' order, with one * each.

What stands for the * is the name that pairs, folders in it too where the * stands before the braces:
DIR/*/{im0.png,im1.png} pairs the two pictures of each folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.pairing import tables_of, unique
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError

_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def is_pattern(uri: str) -> bool:
    """Whether a uri names the files of every role by itself."""
    return _BRACES.search(uri) is not None and "*" in uri


def base_of_pattern(uri: str) -> str:
    """The folder above all files of a pattern."""
    return re.split(r"[*{]", uri)[0].rpartition("/")[0]


def paired_by_pattern(uri: str, roles: Sequence[str], access: Access, ignored: Ignored) -> dict[str, pa.Table]:
    """One row per name that every alternative finds. Raises DataError where the pattern is wrong or a file is missing.

    The last role may be left out of a pattern for three.
    """
    globs = _globs(uri, roles)
    files = {role: _found(glob, access, ignored) for role, glob in globs.items()}
    if not any(files.values()):
        raise DataError(
            f"{scrub(uri)}: no pictures are there; the * of each alternative stands for the name that pairs"
        )
    return tables_of(uri, {role: scrub(glob) for role, glob in globs.items()}, files, "the * stands for that name")


def _globs(uri: str, roles: Sequence[str]) -> dict[str, str]:
    """The pattern of each role. Raises DataError where a pattern has another number of alternatives, or of *."""
    match = _BRACES.search(uri)
    assert match is not None
    globs = [f"{uri[: match.start()]}{each.strip()}{uri[match.end() :]}" for each in match[1].split(",")]
    if not 2 <= len(globs) <= len(roles) or any(glob.count("*") != 1 or re.search(r"[?\[{]", glob) for glob in globs):
        raise DataError(
            f"{scrub(uri)}: a pattern has an alternative in braces for {', '.join(roles)}, in this order, each with one * "
            "and no other wildcard, such as DIR/{images/*.jpg,labels/*_mask.png}"
        )
    return dict(zip(roles, globs, strict=False))


def _found(glob: str, access: Access, ignored: Ignored) -> dict[str, Entry]:
    before, _, after = glob.rpartition("://")[2].partition("*")  # a store may spell its scheme otherwise in a listing
    star = re.compile(f"{re.escape(before)}([^/]*){re.escape(after)}$")
    found = entries(Source((glob,), format="images", access=access), ignored)
    return unique((match[1], entry) for entry in found if (match := star.search(entry.uri)) is not None)
