"""What names tell: pictures, tables, archives and lists by suffix, hidden files, and one spelling for one place."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

from pixelmill.pipelines.inputs.list_formats import LIST_FORMATS

PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".mpo", ".apng", ".avif",
    ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".jxl",
)  # fmt: skip
"""A folder with one of these is a source of pictures, whatever else it holds."""
OTHER_PICTURE_SUFFIXES = (
    ".psd", ".psb", ".svg", ".svgz", ".ico", ".cur", ".icns", ".tga", ".exr", ".hdr", ".pic", ".ppm", ".pgm", ".pbm",
    ".pnm", ".pam", ".pfm", ".pcx", ".sgi", ".dds", ".xcf", ".jxr", ".wdp", ".hdp", ".mng", ".jng",
    ".wmf", ".emf", ".xbm", ".xpm", ".jls", ".jpm", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2",
    ".dng", ".orf", ".raf", ".rw2", ".rwl", ".pef", ".ptx", ".srw", ".x3f", ".3fr", ".fff", ".erf", ".kdc", ".dcr",
    ".mrw", ".mef", ".mos", ".iiq", ".gpr",
)  # fmt: skip
"""Pictures too: each is an input, and one that can't be read is filed as failed."""
IMAGE_SUFFIXES = PHOTO_SUFFIXES + OTHER_PICTURE_SUFFIXES
TAR_SUFFIXES = (".tar",)
TABLE_SUFFIXES = (".parquet", ".pq")
LIST_SUFFIXES = tuple(suffix for suffix in LIST_FORMATS if suffix not in TABLE_SUFFIXES)
"""Tables are lists only where the job says so: most hold pictures."""
COMPRESSED_TAR_SUFFIXES = (
    ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.zstd", ".tar.lz4",
    ".tar.lzma", ".tar.z",
)  # fmt: skip
ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")
URI_COLUMNS = ("uri", "url", "path", "image_url", "image_path", "file", "filename", "file_name")
"""What columns of URIs are usually called."""
DOCUMENT_SUFFIXES = (".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods", ".xml", ".yaml", ".yml", ".html", ".arrow")

_HIDDEN = frozenset(
    {
        "@eadir",
        "@recycle",
        "#recycle",
        "$recycle.bin",
        "recycler",
        "__macosx",
        "lost+found",
        "system volume information",
    }
)
_BRACES = re.compile(r"\{([^{}]*)\}")
_MOST_NAMES = 1_000_000


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to a system and is no input: thumbnails, trash, resource forks,
    caches."""
    return (name.startswith(".") and name not in {".", ".."}) or name.lower() in _HIDDEN


def has_hidden(path: str, *, tables: bool = False) -> bool:
    """Whether a relative path contains a hidden name. With `tables` a leading underscore hides too, also of a folder
    such as _delta_log: programs that write tables mark files that are not data so. It never hides a photograph: cameras
    write _DSC0001.JPG.
    """
    return any(is_hidden(name) or (tables and name.startswith("_")) for name in re.split(r"[/\\]", path))


def suffix_of(uri: str) -> str:
    """The suffix of a file for a person: in lower case, with .tar.gz as one."""
    lower = uri.lower()
    compressed = next((suffix for suffix in COMPRESSED_TAR_SUFFIXES if lower.endswith(suffix)), None)
    suffix = compressed or os.path.splitext(lower)[1][:12].encode("utf-8", "backslashreplace").decode()
    return suffix or "(none)"


# One place, one spelling


def local_path(uri: str) -> str:
    """The absolute path of a path or a file:// URI; links are kept. Escapes such as %20 are decoded, unless a file has
    exactly this name.
    """
    _, separator, rest = uri.partition("://")
    if not separator:
        return _absolute(uri)
    host, _, below = rest.partition("/")
    rest = f"/{below}" if host.lower() == "localhost" else rest
    if "%" in rest and not os.path.lexists(rest):
        rest = unquote(rest, errors="surrogateescape")
    return _absolute(rest or "/")


def _absolute(path: str) -> str:
    found = os.path.abspath(path)
    return found[1:] if found.startswith("//") else found  # POSIX lets two slashes stand


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith(("file://", "local://"))


def is_web(uri: str) -> bool:
    return uri.partition("://")[0].lower() in {"http", "https"} and "://" in uri


def comparable(uri: str) -> str:
    """A place in the spelling of listings."""
    return local_path(uri) if is_local(uri) else uri.replace("s3a://", "s3://", 1)


def spelled(uri: str) -> str:
    """A place in its canonical spelling: local ones as absolute paths, folders without a trailing slash."""
    if is_local(uri):
        return local_path(uri)
    scheme, _, rest = uri.partition("://")
    if scheme in {"http", "https"}:
        return uri  # there a trailing slash makes another place
    return f"{'s3' if scheme == 's3a' else scheme}://{rest.rstrip('/')}"


def place_of(uri: str) -> str:
    """A key that all names of one place share: for a local place, the path with links resolved."""
    return os.path.realpath(spelled(uri)) if is_local(uri) else spelled(uri)


# Braces


def expanded_braces(uri: str) -> Iterator[str]:
    """`{000..002}` and `{a,b}` written out, as a shell does."""
    parts = re.split(r"(\{[^{}]*\})", uri)
    choices = [list(_choices(part)) for part in parts]
    return itertools.islice(map("".join, itertools.product(*choices)), _MOST_NAMES)


def _choices(part: str) -> list[str]:
    inner = part[1:-1] if _BRACES.fullmatch(part) else ""
    if numbers := re.fullmatch(r"(\d+)\.\.(\d+)", inner):
        first, last = numbers.groups()
        step = 1 if int(first) <= int(last) else -1
        width = len(first) if first.startswith("0") else 0
        span = range(int(first), int(last) + step, step)
        return [f"{number:0{width}d}" for number in itertools.islice(span, _MOST_NAMES)]
    return inner.split(",") if "," in inner else [part]


def has_braces(uri: str) -> bool:
    return any(_choices(part[0]) != [part[0]] for part in re.finditer(r"\{[^{}]*\}", uri))
