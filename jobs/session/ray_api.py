"""The few calls of Ray that jobs/ makes, with the types that Ray leaves open; Ray is imported by the first of them."""

from __future__ import annotations

from typing import Any, cast


def import_ray() -> None:
    """Import it as a whole before anything below it.

    Another thread may be importing it: who asks for `ray.data` at that moment holds that module's lock, waits for that of `ray`
    and, since the other waits for the first one, is given half of it.
    """
    import ray  # noqa: F401  # pyright: ignore[reportUnusedImport]


def init(**options: object) -> None:
    import ray

    cast("Any", ray).init(**options)


def shutdown() -> None:
    import ray

    cast("Any", ray).shutdown()


def cluster_resources() -> dict[str, float]:
    """What all of the connected cluster has."""
    import ray

    return dict(cast("Any", ray).cluster_resources())


def available_resources() -> dict[str, float]:
    """What nobody uses of it at this moment."""
    import ray

    return dict(cast("Any", ray).available_resources())
