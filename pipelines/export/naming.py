"""Name the files of an export: with the names and folders of the inputs, below the folder that all inputs share.

A name never leads out of the destination, and no part of it is longer than file systems allow. Where names have to be `portable`,
what Windows or a web address refuses is written as in a web address: `what?.png` is `what%3F.png`. `%` itself is `%25`, so that
different names stay different and `urllib.parse.unquote` gives the first one back.

The first listed input keeps its name; a part of its id is appended to the name of a later input that would be equal (a.jpg and
a.png, or A.jpg if case is ignored), so that inputs that are listed later never change earlier exports.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pixelmill.pipelines.inputs.names import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_TAR_SUFFIXES,
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    TAR_SUFFIXES,
)

MARKS = "_export"
"""The folder of a destination in which an export keeps its own files."""
MOST_NAME_BYTES = 200
"""Most bytes of one part of a path; file systems allow 255, and a suffix follows."""
_DROPPED = tuple(sorted({*IMAGE_SUFFIXES, ".dcm", ".ima"}, key=len, reverse=True))
_CONTAINERS = (*COMPRESSED_TAR_SUFFIXES, *TAR_SUFFIXES, *TABLE_SUFFIXES, *ARCHIVE_SUFFIXES)
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")
_UNPORTABLE = re.compile(r"""[\x00-\x1f\x7f\\?*:"<>|%#]|^[ ]+|[ .]+$""")
"""Also `#`, which ends the path of a web address; blanks at the beginning; blanks and dots at the end."""
_CUT_CODE = re.compile(r"%[0-9A-F]?$")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_FILE_SUFFIX = re.compile(r"(?i)\.(png|jpg|webp|npz|tar|json|tif|gif|bmp|avif|bin)$")


class InputName(NamedTuple):
    """The naming facts of an input in the manifest."""

    id: str
    uri: str
    member: str | None


class Names:
    """The file names of a run's inputs, without suffixes."""

    def __init__(self, root: str, renamed: frozenset[str], *, for_shards: bool, portable: bool = False) -> None:
        """`renamed` are the ids of inputs whose names earlier inputs already have."""
        self.root = root
        self.renamed = renamed
        self._for_shards, self._portable = for_shards, portable

    def stem(self, name: InputName, place: int | None = None) -> str:
        """The path of an input's file below the destination, without its suffix."""
        stem = plain_stem(name, self.root, for_shards=self._for_shards, portable=self._portable)
        stem = f"{stem}-{name.id[:8]}" if name.id in self.renamed else stem
        return stem if place is None else f"{stem}-{place:04d}"


def names_of(
    inputs: Iterable[Iterable[InputName]], root: str, *, for_shards: bool = False, portable: bool = False
) -> Names:
    """Find the names that clash. Iterates over `inputs` twice, with 8 bytes in memory for each name."""

    def stem_of(name: InputName) -> str:
        return plain_stem(name, root, for_shards=for_shards, portable=portable)

    hashes = array("Q")
    for several in inputs:
        hashes.extend(_hash(stem_of(name)) for name in several)
    values, counts = np.unique(np.frombuffer(hashes, np.uint64), return_counts=True)
    shared = frozenset(values[counts > 1].tolist())
    renamed = _later_ones(inputs, stem_of, shared) if shared else ()
    return Names(root, frozenset(renamed), for_shards=for_shards, portable=portable)


def _later_ones(
    inputs: Iterable[Iterable[InputName]], stem_of: Callable[[InputName], str], shared: frozenset[int]
) -> Iterator[str]:
    seen: set[int] = set()
    for several in inputs:
        for name in several:
            key = _hash(stem_of(name))
            if key in seen:
                yield name.id
            elif key in shared:
                seen.add(key)


def root_of(inputs: Iterable[Iterable[InputName]]) -> str:
    """The deepest folder that contains all inputs, counting archives as folders; "" if there is none."""
    shared: list[str] | None = None
    for several in inputs:
        for name in several:
            folders = _whole_path(name).split("/")[:-1]
            if shared is None:
                shared = folders
            elif folders[: len(shared)] != shared:
                same = [a == b for a, b in zip(shared, folders, strict=False)]
                shared = shared[: [*same, False].index(False)]
    return "/".join(shared or [])


def plain_stem(name: InputName, root: str, *, for_shards: bool, portable: bool = False) -> str:
    """The stem before clashes are resolved. In shards the base name has no dot, which would end the key of a sample."""
    path = _whole_path(name)
    below = path[len(root) :] if root and path.startswith(f"{root}/") else path.replace("://", "/", 1)
    *folders, base = [part for part in below.split("/") if part] or [name.id]
    base = _without_suffix(base)
    base = base.replace(".", "_") if for_shards else base
    if portable:
        folders, base = [portable_part(folder) for folder in folders], portable_part(base)
    fitted = [fit(folder) for folder in folders]
    safe = [*(_apart(each, portable) if _FILE_SUFFIX.search(each) else each for each in fitted), fit(base)]
    if safe[0].casefold() == MARKS:
        safe[0] = _apart(safe[0], portable)
    return "/".join(safe)


def _whole_path(name: InputName) -> str:
    if name.member is None:
        return name.uri
    lower = name.uri.lower()
    suffix = next((each for each in _CONTAINERS if lower.endswith(each)), "")
    return f"{name.uri[: len(name.uri) - len(suffix)]}/{name.member.lstrip('/')}"


def _without_suffix(base: str) -> str:
    lower = base.lower()
    suffix = next((each for each in _DROPPED if lower.endswith(each) and len(base) > len(each)), "")
    return base[: len(base) - len(suffix)]


def portable_part(part: str) -> str:
    """A part of a path that Windows, URLs and object stores take too; `unquote` reverses it, and `%` is never left alone."""
    part = _UNPORTABLE.sub(_as_in_urls, part)
    if _DEVICES.fullmatch(part):
        part = f"{_as_in_urls(part[0])}{part[1:]}"
    return part


def _as_in_urls(found: re.Match[str] | str) -> str:
    text = found if isinstance(found, str) else found[0]
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def fit(part: str) -> str:
    """A part of a path that is valid on every system: no parent folder, control characters or Windows device, not too long."""
    part = _UNFIT.sub("_", part)
    if part.strip(".") == "" or _DEVICES.fullmatch(part):
        part = f"{part.replace('.', '_')}_" if part.strip(".") else "_" * len(part)
    data = part.encode("utf-8", "replace")
    if len(data) <= MOST_NAME_BYTES:
        return part
    cut = _CUT_CODE.sub("", data[: MOST_NAME_BYTES - 9].decode("utf-8", "ignore"))
    return f"{cut}-{hashlib.blake2b(data, digest_size=4).hexdigest()}"


def _apart(part: str, portable: bool) -> str:
    """Another name for a folder such as a.png, which would conflict with a file a.png, or for one that an export uses itself."""
    return f"{part[:-1]}{_as_in_urls(part[-1])}" if portable else f"{part}_"


def _hash(stem: str) -> int:
    key = unicodedata.normalize("NFC", stem).casefold().encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
