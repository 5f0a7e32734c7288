"""Pair the files of several folders by their names: images/7.jpg with labels/7.png, or with labels/7_mask.png."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pyarrow as pa

from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.folders import children
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError


def pattern_hint(folders: Iterable[str]) -> str:
    """How to name files that pair otherwise."""
    return f"other names pair by a pattern such as DIR/{{{','.join(f'{folder}/*.png' for folder in folders)}}}"


def paired(uri: str, roles: dict[str, str], access: Access, ignored: Ignored) -> dict[str, pa.Table]:
    """One row per name that has a file in every role's folder. Raises DataError where a folder lacks a file."""
    return tables_of(uri, roles, files_in(uri, roles, access, ignored), pattern_hint(roles.values()))


def files_in(uri: str, roles: dict[str, str], access: Access, ignored: Ignored) -> dict[str, dict[str, Entry]]:
    """The files in each role's folder by name. Raises DataError where a folder or every file is missing."""
    listed = children(uri, access)
    if missing := [folder for folder in roles.values() if folder not in listed]:
        there, hint = ", ".join(sorted(listed)[:8]) or "nothing", pattern_hint(roles.values())
        raise DataError(f"{scrub(uri)}: has no folder {' or '.join(missing)}; it holds {there}; {hint}")
    by_role = {role: by_stem(join(uri, folder), access, ignored) for role, folder in roles.items()}
    if not any(by_role.values()):
        raise DataError(f"{scrub(uri)}: no pictures are in {', '.join(roles.values())}")
    return by_role


def tables_of(uri: str, places: dict[str, str], files: dict[str, dict[str, Entry]], hint: str) -> dict[str, pa.Table]:
    """A table for each role, with the files of the same names in the same rows. Raises DataError where one is missing.

    `places` describes where the files of each role lie, and `hint` what else could be done.
    """
    stems = sorted(set[str]().union(*files.values()))
    lacking = [(stem, role) for stem in stems for role in places if stem not in files[role]]
    if lacking:
        stem, role = lacking[0]
        raise DataError(
            f"{scrub(uri)}: {stem} has no file in {places[role]}, and {len(lacking) - 1:,} more do not pair; "
            f"each name needs one in every place; {hint}"
        )
    return {role: table_of([named[stem] for stem in stems]) for role, named in files.items()}


def by_stem(uri: str, access: Access, ignored: Ignored) -> dict[str, Entry]:
    """The pictures below a folder by their names without the suffix. Raises DataError where two have one name."""
    return unique((PurePosixPath(entry.uri).stem, entry) for entry in pictures_below(uri, access, ignored))


def pictures_below(uri: str, access: Access, ignored: Ignored) -> Iterable[Entry]:
    return entries(Source((uri,), format="images", access=access), ignored)


def unique(named: Iterable[tuple[str, Entry]]) -> dict[str, Entry]:
    """Files by name. Raises DataError where two have one name."""
    found: dict[str, Entry] = {}
    for name, entry in named:
        first = found.setdefault(name, entry)
        if first is not entry:
            raise DataError(f"{scrub(entry.uri)}: {scrub(first.uri)} has the same name; keep one of them")
    return found


def common_ending(names: Sequence[str], longer: Sequence[str]) -> str | None:
    """What every name of `longer` has after a name of `names`, such as _mask; None where that is not one ending for all.

    Names that pair as they are have no ending; an ending has no digits, so that 1 and 10 are never taken for a pair.
    """
    if not names or len(names) != len(longer) or set(names) & set(longer):
        return None
    shortest = min(longer, key=len)
    whole = [name for name in names if shortest.startswith(name)]
    for name in sorted(whole, key=len, reverse=True):
        ending = shortest[len(name) :]
        if ending and not any(map(str.isdigit, ending)) and {f"{each}{ending}" for each in names} == set(longer):
            return ending
    return None


def name_below(uri: str, folder: str) -> str:
    """The path of a file below a folder."""
    return os.path.relpath(uri, folder) if "://" not in uri else uri[len(folder) :].strip("/")
