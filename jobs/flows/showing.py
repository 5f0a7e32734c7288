"""A flow for people before it runs: which steps are done, and which are missing."""

from __future__ import annotations

from collections.abc import Mapping

from pixelmill.jobs.flows.graph import checked_order, needs_of
from pixelmill.jobs.flows.spec import read_flow
from pixelmill.jobs.flows.steps import step_of
from pixelmill.workers.errors import PixelmillError


def plan_lines(text: str, name: str, overrides: list[str], environment: Mapping[str, str]) -> list[str]:
    """A line for each step, in order; nothing is started or written. Raises JobError for a wrong flow."""
    flow = read_flow(text, name=name, overrides=overrides, environment=environment)
    missing, lines = set[str](), list[str]()
    for step in checked_order(flow, name):
        spec = flow.spec.steps[step]
        if missing & set(needs_of(spec)):
            state = "waits for what it needs"
        else:
            try:
                state = "is done" if step_of(flow, step).is_done() and not spec.always else "is to be run"
            except PixelmillError as error:
                state = f"can't be run: {error}"
        if state != "is done":
            missing.add(step)
        lines.append(f"{step}: {state}: pixelmill {' '.join(flow.written(step))}")
    return lines
