"""List an archive of CT: files of any name, and members of tars and zips; what is surely no object is left out.

Pictures are objects where their format can hold Hounsfield units: PNG and TIFF. Others have 8 bits and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from pixelmill.pipelines.inputs.archives import KindOfOther, tar_members
from pixelmill.pipelines.inputs.entries import Entry, Found, Ignored, Index, Source
from pixelmill.pipelines.inputs.files import Place
from pixelmill.pipelines.inputs.globs import matcher
from pixelmill.pipelines.inputs.names import DOCUMENT_SUFFIXES, IMAGE_SUFFIXES, TAR_SUFFIXES, has_hidden, suffix_of
from pixelmill.pipelines.inputs.zips import zip_members
from pixelmill.pipelines.stores.retries import retried

DIRECTORY = "DICOMDIR"
ZIP_SUFFIX = ".zip"
MembersOf = Callable[[Found, Source, KindOfOther], Index]
SLICE_SUFFIXES = (".png", ".tif", ".tiff")
_OTHER_SUFFIXES = (
    *(suffix for suffix in IMAGE_SUFFIXES if suffix not in SLICE_SUFFIXES),
    *DOCUMENT_SUFFIXES,
    ".txt",
    ".md",
    ".pdf",
    ".csv",
    ".tsv",
    ".exe",
    ".inf",
    ".dll",
    ".db",
)


def dicom_entries(files: Iterable[Found], place: Place, source: Source, ignored: Ignored) -> Iterator[Entry]:
    """Every file that may be an object; a tar or a zip gives its members. Others are counted in `ignored`."""
    wanted = matcher(source.pattern) if source.pattern else None
    for found in files:
        name = place.name_of(found)
        if wanted is not None and not wanted(name):
            ignored.add(found.uri)
        elif has_hidden(name, tables=False):
            ignored.count("hidden")
        elif found.uri.lower().endswith(TAR_SUFFIXES):
            yield from _members(found, source, ignored, tar_members)
        elif found.uri.lower().endswith(ZIP_SUFFIX):
            yield from _members(found, source, ignored, zip_members)
        elif (kind := kind_of_no_object(found.uri)) is not None:
            ignored.count(kind)
        else:
            yield Entry(found.uri, size=found.size, version=found.version)


def kind_of_no_object(name: str) -> str | None:
    """The kind of a file that is no object by its name: a directory of a medium, a picture, a document."""
    if PurePosixPath(name).name.upper() == DIRECTORY:
        return DIRECTORY
    return suffix_of(name) if name.lower().endswith(_OTHER_SUFFIXES) else None


def _members(found: Found, source: Source, ignored: Ignored, members: MembersOf) -> Iterator[Entry]:
    index = retried(lambda: members(found, source, kind_of_no_object), for_s=min(30.0, source.access.retry_for_s))
    for kind, count in index.ignored.items():
        ignored.count(kind, count)
        ignored.members += count
    yield from index.entries
