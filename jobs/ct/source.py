"""Find out whether a source is what `ct ingest` wrote, so that its slices or blocks are read without being asked for by name."""

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
"""The stage that writes slices in Hounsfield units, or blocks, and the decoder that reads slices."""
READS_BLOCKS = "hu-block"
"""The decoder that reads blocks."""


def with_decoder(uri: str, kind: str) -> str | dict[str, object]:
    """The source of a job of one stage: with the decoder of slices or blocks where the folder, or its data/, is of a run that
    made them.

    It is looked at for stages alone that can take slices. What can't be read stays as it is, and is reported when it is
    listed. Raises JobError for a source with credentials in it.
    """
    refuse_credentials(uri)
    if "hu16" not in config_class(kind).takes:
        return uri
    try:
        decoder = _decoder_of(absolute(uri))
        return uri if decoder is None else {"uri": uri, "decoder": decoder}
    except Exception:  # the client of each store raises kinds of its own, and the listing reports them in our words
        return uri


def _decoder_of(uri: str) -> str | None:
    """What reads the rows of a run; None where it made no slices and no blocks."""
    run = uri.removesuffix(f"/{DATA}")
    if is_web(uri) or any(mark in run for mark in "*?["):
        return None
    stored = Folder(run, Access(timeout_s=5, retry_for_s=0)).read(SPEC)
    if stored is None:
        return None
    document = parse(stored.decode(), name=SPEC, what="a mapping").document
    stages, source = document.get("stages"), document.get("source")
    if not isinstance(stages, list):
        return None
    if not any(stage == MAKES_SLICES or _names_slices(stage) for stage in cast("list[object]", stages)):
        return None
    decoder = cast("dict[str, object]", source).get("decoder") if isinstance(source, dict) else None
    return READS_BLOCKS if decoder == "ct-volume" else MAKES_SLICES


def _names_slices(stage: object) -> bool:
    return isinstance(stage, dict) and list(cast("dict[object, object]", stage)) == [MAKES_SLICES]
