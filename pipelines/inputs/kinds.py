"""Decide what the files of a source are: pictures, archives, tables or lists; explain a source without inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pixelmill.pipelines.inputs.entries import Format, Found, Ignored, Source
from pixelmill.pipelines.inputs.files import Place
from pixelmill.pipelines.inputs.globs import matcher
from pixelmill.pipelines.inputs.list_formats import what_a_list_is
from pixelmill.pipelines.inputs.names import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_TAR_SUFFIXES,
    DOCUMENT_SUFFIXES,
    IMAGE_SUFFIXES,
    LIST_SUFFIXES,
    PHOTO_SUFFIXES,
    TABLE_SUFFIXES,
    TAR_SUFFIXES,
    has_hidden,
)
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted

PEEK = 1000
ALIKE: dict[Format, tuple[str, ...]] = {
    "images": IMAGE_SUFFIXES,
    "webdataset": TAR_SUFFIXES,
    "parquet": TABLE_SUFFIXES,
    "list": LIST_SUFFIXES,
    "dicom": (),
    "ct-index": (),
}
"""The suffixes that files of a format have."""


def kind_of_single(uri: str) -> Format:
    lower = uri.partition("?")[0].lower()
    if lower.endswith((*COMPRESSED_TAR_SUFFIXES, *ARCHIVE_SUFFIXES)):
        raise JobError(f"source {scrub(uri)}: is compressed; unpack it, to a folder or a .tar, and name that")
    for kind, suffixes in ALIKE.items():
        if lower.endswith(suffixes):
            return kind
    if lower.endswith(DOCUMENT_SUFFIXES):
        raise JobError(
            f"source {scrub(uri)}: is neither a picture nor a list that is read; a list is {what_a_list_is()}"
        )
    return "images"


def kind_of_folder(uri: str, head: list[Found], ignored: Ignored) -> Format:
    """The kind of most of the first files; any photograph decides for pictures, since tables often lie beside them."""
    names = [found.uri.lower() for found in head]
    kinds: tuple[tuple[Format, tuple[str, ...]], ...] = (
        ("images", PHOTO_SUFFIXES),
        ("webdataset", TAR_SUFFIXES),
        ("parquet", TABLE_SUFFIXES),
        ("images", IMAGE_SUFFIXES),
    )
    for kind, suffixes in kinds:
        if any(name.endswith(suffixes) for name in names):
            return kind
    if len(head) == PEEK:
        return "images"
    seen = Ignored(dict(ignored.by_suffix))
    for found in head:
        seen.add(found.uri)
    raise JobError(f"source {scrub(uri)}: no input was found: {_what_is_there(seen)}")


def nothing_found(source: Source, ignored: Ignored) -> JobError:
    """Why a finished listing has no input: what is there instead, and what to write in the job."""
    files = sum(ignored.by_suffix.values())
    if not files:
        fact = "it is empty, without a file, line, row or member; fill it, or name another"
    elif source.format == "dicom" and not source.pattern:
        fact = (
            f"{counted(files, 'file')}, none of them an object of CT ({ignored.says()}); pictures of 8 bits such as JPEG were "
            "windowed and are no Hounsfield units: use them as pictures, with the other commands"
        )
    elif source.pattern or source.format != "auto":
        fact = f"{counted(files, 'file')} left out by source.format and source.pattern ({ignored.says()})"
    else:
        fact = _what_is_there(ignored)
    return JobError(f"source {', '.join(map(scrub, source.uris))}: no input was found: {fact}")


def _what_is_there(seen: Ignored) -> str:
    kinds = seen.by_suffix
    if not kinds:
        return "0 files are there; fill it, or name another"
    there = f"{counted(sum(kinds.values()), 'file')}, none of them an image, a .tar or a .parquet ({seen.says()})"
    if any(kind in kinds for kind in (*COMPRESSED_TAR_SUFFIXES, *ARCHIVE_SUFFIXES)):
        return f"{there}; what is compressed has to be unpacked, to a folder or to .tar"
    if ".tar" in kinds:
        return f"{there}; tars in a tar have to be unpacked once, to a folder of tars"
    if seen.members:
        return f"{there}; members of a tar are recognized by their names: give pictures their suffix, as .jpg"
    if any(kind in kinds for kind in LIST_SUFFIXES):
        return f"{there}; if one is a list of URIs, name that file"
    if set(kinds) == {"hidden"}:
        return f"{there}; hidden files are read where source.pattern names them, as '**/.*/*.jpg'"
    return f"{there}; if they are pictures all the same, say so with format: images and pattern: '**/*'"


def matching(files: Iterable[Found], place: Place, source: Source, kind: Format, ignored: Ignored) -> Iterator[Found]:
    """The files that are inputs: by the user's pattern below the folder, or by the suffix that the format has."""
    hides = kind != "images" and not place.names_hidden
    wanted = matcher(source.pattern) if source.pattern else None
    for found in files:
        name = place.name_of(found)
        if not (wanted(name) if wanted else name.lower().endswith(ALIKE[kind])):
            ignored.add(found.uri)
        elif hides and has_hidden(name, tables=True):
            ignored.count("hidden")
        else:
            yield found
