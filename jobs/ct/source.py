"""Find out whether a source is what `ct ingest` wrote, so that its slices are read without being asked for by name."""

from __future__ import annotations

from typing import cast

from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.parsing import parse
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.inputs.names import is_web
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.stages import config_class

SPEC = "_run/spec.yaml"
MAKES_SLICES = "hu"
"""The stage that writes slices in Hounsfield units, and the decoder that reads them."""


def with_decoder(uri: str, kind: str) -> str | dict[str, object]:
    """The source of a job of one stage: with the decoder of slices where the folder, or its data/, is of a run that made them.

    It is looked at for stages alone that can take slices. What can't be read stays as it is, and is reported when it is
    listed. Raises JobError for a source with credentials in it.
    """
    refuse_credentials(uri)
    if "hu16" not in config_class(kind).takes:
        return uri
    try:
        return {"uri": uri, "decoder": MAKES_SLICES} if _holds_slices(absolute(uri)) else uri
    except Exception:  # the client of each store raises kinds of its own, and the listing reports them in our words
        return uri


def _holds_slices(uri: str) -> bool:
    run = uri.removesuffix(f"/{DATA}")
    if is_web(uri) or any(mark in run for mark in "*?["):
        return False
    stored = Folder(run, Access(timeout_s=5, retry_for_s=0)).read(SPEC)
    if stored is None:
        return False
    stages = parse(stored.decode(), name=SPEC, what="a mapping").document.get("stages")
    if not isinstance(stages, list):
        return False
    return any(stage == MAKES_SLICES or _names_slices(stage) for stage in cast("list[object]", stages))


def _names_slices(stage: object) -> bool:
    return isinstance(stage, dict) and list(cast("dict[object, object]", stage)) == [MAKES_SLICES]
