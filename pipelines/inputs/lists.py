"""Entries of a list of URIs, whatever its format: a list in a store may not name files of this machine."""

from __future__ import annotations

from collections.abc import Iterator

from pixelmill.pipelines.inputs.entries import Entry, Found, Source
from pixelmill.pipelines.inputs.list_formats import format_of, what_a_list_is
from pixelmill.pipelines.inputs.names import is_local, local_path
from pixelmill.pipelines.stores.access import join, open_store, scheme_of
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import JobError

_REMOTE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https"})


def entries_of(found: Found, source: Source) -> Iterator[Entry]:
    """The URIs of a list file; a relative one is taken from the folder that the list lies in."""
    for line, uri in enumerate(_uris(found, source), 1):
        yield _entry(found, line, uri)


def _uris(found: Found, source: Source) -> Iterator[str | None]:
    store, path = open_store(found.uri, source.access)
    try:
        with open_patiently(store, path, source.access) as file:
            yield from format_of(found.uri)(file, source.column, found.uri)
    except UnicodeDecodeError as error:
        text = f"{scrub(found.uri)}: is not UTF-8 text ({error}); a list of URIs is {what_a_list_is()}"
        raise JobError(text) from error


def _entry(found: Found, line: int, uri: str | None) -> Entry:
    if not uri:
        return Entry(found.uri, f"line {line}", problem="NullUri: the list has no URI here")
    is_whole = "://" in uri or uri.startswith("/")
    whole = uri if is_whole else join(found.uri.rpartition("/")[0], uri)
    if carries_credentials(whole):
        return refused(uri, f"line {line}")
    if is_whole and not is_local(found.uri) and scheme_of(uri) not in {*_REMOTE, scheme_of(found.uri)}:
        return Entry(
            found.uri, f"line {line}",
            problem=f"ForeignUri: a list in a store may not name {scrub(uri)[:200]!r}, which is a file of this machine or of "
            "a kind of store that it can't know; write a URI below the list, or copy the list here",
        )  # fmt: skip
    return Entry(local_path(whole) if is_local(whole) else whole)


def refused(uri: str, member: str | None) -> Entry:
    """An input that is refused, under its name without the secret."""
    return Entry(
        scrub(uri), member,
        problem="SignedUrl: carries a signature, a password, or a parameter that may be one, which would be written to "
        "every output; list the plain URI and give credentials in the environment",
    )  # fmt: skip
