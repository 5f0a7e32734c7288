"""Pair the files of several folders by their names: images/7.jpg with labels/7.png."""

from __future__ import annotations

from pathlib import PurePosixPath

import pyarrow as pa

from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.folders import children
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError


def paired(uri: str, roles: dict[str, str], access: Access, ignored: Ignored) -> dict[str, pa.Table]:
    """One row per name that has a file in every role's folder. Raises DataError where a folder lacks a file."""
    listed = children(uri, access)
    if missing := [folder for folder in roles.values() if folder not in listed]:
        there = ", ".join(sorted(listed)[:8]) or "nothing"
        raise DataError(f"{scrub(uri)}: has no folder {' or '.join(missing)}; it holds {there}")
    by_role = {role: _by_stem(join(uri, folder), access, ignored) for role, folder in roles.items()}
    stems = sorted(set[str]().union(*by_role.values()))
    if not stems:
        raise DataError(f"{scrub(uri)}: no pictures are in {', '.join(roles.values())}")
    lacking = [(stem, role) for stem in stems for role in roles if stem not in by_role[role]]
    if lacking:
        stem, role = lacking[0]
        raise DataError(
            f"{scrub(uri)}: {stem} has no file in {roles[role]}, and {len(lacking) - 1:,} more do not pair; "
            "each name needs one in every folder"
        )
    return {role: table_of([files[stem] for stem in stems]) for role, files in by_role.items()}


def _by_stem(uri: str, access: Access, ignored: Ignored) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries(Source((uri,), format="images", access=access), ignored):
        first = found.setdefault(PurePosixPath(entry.uri).stem, entry)
        if first is not entry:
            raise DataError(f"{scrub(entry.uri)}: {scrub(first.uri)} has the same name; keep one of them")
    return found
