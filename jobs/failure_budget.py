"""How many inputs may fail before a run stops itself: a function of counts, and the sentence that it ends with."""

from __future__ import annotations

from pixelmill.pipelines.bulk.mill import Tally

MIN_ROWS_FOR_FRACTION, ENOUGH_ROWS = 100, 1000


def is_exceeded(done: int, failed: int, *, rows: int, max_fraction: float) -> bool:
    """Whether too many of the inputs seen in this attempt failed, while some of its `rows` are left.

    Broken files lie together: a handful at the start of a listing says little of the rest of a small archive, so that the
    fraction is one of all its rows, or of the first ENOUGH_ROWS of a larger one, until as many were seen.
    """
    seen = done + failed
    allowed = max_fraction * max(seen, min(rows, ENOUGH_ROWS))
    return MIN_ROWS_FOR_FRACTION <= seen < rows and failed > allowed


def explanation(tally: Tally, max_fraction: float) -> str:
    """What the user reads: how many failed, the commonest reasons with an example each, the next step."""
    commonest = tally.reasons.most_common(3)
    lines = [f"  {count:,} {stage}/{kind}, as {tally.examples[stage, kind]}" for (stage, kind), count in commonest]
    return (
        f"{tally.failed:,} of the first {tally.done + tally.failed:,} inputs failed, "
        f"more than run.max_failed_fraction = {max_fraction:g}:\n"
        + "\n".join(lines)
        + "\nwhat was finished stays; correct the cause and run the same command again, or raise the fraction"
    )
