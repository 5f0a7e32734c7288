"""How many inputs may fail before a run stops itself: a function of counts, and the message of the run."""

from __future__ import annotations

from pixelmill.pipelines.bulk.mill import Tally

MIN_ROWS_FOR_FRACTION, ENOUGH_ROWS = 100, 1000


def is_exceeded(done: int, failed: int, *, rows: int, max_fraction: float) -> bool:
    """Whether too many of the inputs seen in this attempt failed, while some of its `rows` are left.

    Broken files often lie together: a few at the start of a listing say little about the rest. The fraction is
    therefore one of all rows of a small archive, or of ENOUGH_ROWS of a larger one, until as many were seen.
    """
    seen = done + failed
    allowed = max_fraction * max(seen, min(rows, ENOUGH_ROWS))
    return MIN_ROWS_FOR_FRACTION <= seen < rows and failed > allowed


def explanation(tally: Tally, max_fraction: float) -> str:
    """The message for the user: how many failed, the most common reasons with an example each, the next step."""
    commonest = tally.reasons.most_common(3)
    lines = [f"  {count:,} {stage}/{kind}, as {tally.examples[stage, kind]}" for (stage, kind), count in commonest]
    return (
        f"{tally.failed:,} of the first {tally.done + tally.failed:,} inputs failed, "
        f"more than run.max_failed_fraction = {max_fraction:g}:\n"
        + "\n".join(lines)
        + "\nwhat was finished stays; correct the cause and run the same command again, or raise the fraction"
    )
