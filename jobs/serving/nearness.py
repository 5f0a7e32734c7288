"""Rows near a row, a picture or a sentence. Networks and vectors are loaded when they are first needed, and kept.

Legend: N rows, D numbers in a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pixelmill.jobs import querying
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.jobs.serving.vectors import vectors_of
from pixelmill.pipelines import explore
from pixelmill.pipelines.findings.row_vectors import space_of, vector_column
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import JobError, PixelmillError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.similarity.units import as_float32, blocks

MOST_PIXELS = 40_000_000
MOST_FOUND = 200


def near_row(run: ServedRun, number: int, count: int) -> list[dict[str, Any]]:
    """The rows nearest to one of the run, without itself. JobError for a row without a vector."""
    vectors, numbers_N = vectors_of(run)
    own = np.flatnonzero(numbers_N == number)
    if not len(own):
        run.table.place_of(number)
        raise JobError(f"row {number}: has no vector in {vectors.column}")
    return _nearest(run, as_float32(vectors.units_ND[own[0]]), count, but=number)


def near_picture(run: ServedRun, data: bytes, count: int) -> list[dict[str, Any]]:
    """The rows nearest to a picture file. RowError for what is none; JobError where no network of the run can see it."""
    picture = Picture(decode_picture(data, max_pixels=MOST_PIXELS))
    _, encode = run.kept("picture encoder", lambda: 0, lambda: querying.picture_encoder(run.folder, None))
    return _nearest(run, np.asarray(encode(picture), np.float32), count)


def near_sentence(run: ServedRun, sentence: str, count: int) -> list[dict[str, Any]]:
    """The rows nearest to a sentence. JobError where the model of the run knows no words."""
    _, encode = run.kept("sentence encoder", lambda: 0, lambda: querying.sentence_encoder(run.folder, None))
    return _nearest(run, np.asarray(encode(sentence), np.float32), count)


def what_is_searched(run: ServedRun) -> dict[str, object]:
    """Whether rows have neighbours, and whether words find them, each with the reason where not."""
    try:
        column = vector_column(run.folder, None)
        space_of(run.folder, column)
    except JobError as error:
        return {"column": None, "why_not": str(error), "text": False, "why_no_text": str(error)}
    try:
        model = querying.model_of_column(run.folder, column)
    except PixelmillError as error:  # a job file that can't be read here costs the search by words and nothing else
        return {"column": column, "why_not": None, "text": False, "why_no_text": str(error)}
    knows_words = model.startswith(f"{querying.SEARCHABLE}:")
    why = None if knows_words else f"{model} knows no words; embed with a model of open_clip to search by text"
    return {"column": column, "why_not": None, "text": knows_words, "why_no_text": why}


def _nearest(run: ServedRun, query_D: np.ndarray, count: int, but: int = -1) -> list[dict[str, Any]]:
    vectors, numbers_N = vectors_of(run)
    if query_D.shape != vectors.units_ND.shape[1:]:
        raise JobError(f"{vectors.column}: has {vectors.units_ND.shape[1]} numbers a row, and the query {len(query_D)}")
    query_D = query_D / max(float(np.linalg.norm(query_D)), explore.TINY)
    cosines_N = np.empty(len(vectors), np.float32)
    for block in blocks(len(vectors)):
        cosines_N[block] = as_float32(vectors.units_ND[block]) @ query_D
    cosines_N[(numbers_N == but) | (numbers_N < 0)] = -np.inf
    count = min(count, MOST_FOUND, int(np.isfinite(cosines_N).sum()))
    nearest = (
        np.argpartition(-cosines_N, count - 1)[:count] if 0 < count < len(cosines_N) else np.arange(len(cosines_N))
    )
    nearest = nearest[np.lexsort((numbers_N[nearest], -cosines_N[nearest]))][:count]
    found = run.table.rows_of([int(numbers_N[place]) for place in nearest])
    return [{**row, "cosine": float(cosines_N[place])} for row, place in zip(found, nearest, strict=True)]
