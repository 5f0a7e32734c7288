"""Run a flow: hold its folder like a run, start what is missing, and say at the end what became of each step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from shlex import quote

from pixelmill.jobs import checks
from pixelmill.jobs.documents.parsing import to_yaml
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.flows.graph import checked_order, file_of
from pixelmill.jobs.flows.processes import StepProcess
from pixelmill.jobs.flows.scheduling import Room, Schedule
from pixelmill.jobs.flows.sent import SentFlow, sent_flow
from pixelmill.jobs.flows.sizing import sized
from pixelmill.jobs.flows.spec import Flow, read_flow
from pixelmill.jobs.flows.steps import Step, digest_of_output, step_of
from pixelmill.jobs.outcome import Ending, Stopwatch
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.limits import Allowance, nodes_of_the_newest
from pixelmill.jobs.session.session import JobKind, Session, session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.screen import screen
from pixelmill.pipelines.events import RowsCounted
from pixelmill.pipelines.outputs.claims import Claim, ClaimedFolder
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import PixelmillError, RunRefused

SPEC = "_run/flow.yaml"
OTHERS = ("_run/spec.yaml", "_run/recipe.yaml")
POLL_S = 0.25
FAILED_STEP = 1


def run_flow_text(text: str, name: str, overrides: list[str], around: Surroundings, say: Callable[[str], None]) -> int:
    """Run the flow of a file; returns the exit code: 0 where every step is done, else that of the first step that failed."""
    flow = read_flow(text, name=name, overrides=overrides, environment=around.environment)
    order = checked_order(flow, name)
    out = flow.open_out()
    _check_output(out)
    stopwatch = Stopwatch(around.started_s, {}, around.now)
    limits = flow.spec.run
    allowed = Allowance.of(limits.deadline, limits.max_cost, limits.node_hour_price, around.now())
    with screen(around) as shown:
        events = EventStream(shown.terminal, "flow", around.now)
        at_work: dict[str, Folder] = {}
        kind = JobKind("flow", _record, _publish_log, "{dead} died", allowed, partial(nodes_of_steps, at_work))
        with session(out, shown, events, around, stopwatch, kind) as held:
            run = FlowRun(
                flow,
                order,
                held,
                around,
                sent_flow(text, name=name, overrides=overrides, environment=around.environment),
                at_work,
            )
            code = run.work()
    say(run.summary())
    return code


def _check_output(out: Folder) -> None:
    with checks.nothing_started():
        checks.check_writable(out)
    with explained(out.uri, "reading the flow's folder"):
        other = next((name for name in OTHERS if out.exists(name)), None)
    if other is not None:
        raise RunRefused(f"{out.uri}: holds a run of another kind ({other}); give the flow a folder of its own")
    out.check_writable()


def _record(ending: Ending) -> Mapping[str, object]:
    return {**ending}


def _publish_log(out: Folder, claim: Claim, log: bytes) -> None:
    out.publish(f"{claim.folder}/log.txt", log)


def nodes_of_steps(at_work: Mapping[str, Folder]) -> int:
    """The nodes that the steps at work use, each by its own last beat: a node that two steps share counts twice."""
    return max(1, sum(map(nodes_of_the_newest, list(at_work.values()))))


class FlowRun:
    """One attempt at a flow. `at_work` gets the folders of the steps that run, while they do."""

    def __init__(
        self,
        flow: Flow,
        order: list[str],
        held: Session,
        around: Surroundings,
        recorded: SentFlow,
        at_work: dict[str, Folder],
    ) -> None:
        self._flow, self._held, self._around, self._recorded = flow, held, around, recorded
        self._at_work = at_work
        self._claimed = ClaimedFolder(held.out, held.held.claim)
        self._schedule = Schedule(flow.spec.steps, order, self._room())
        self._running: dict[str, tuple[Step, StepProcess]] = {}
        self._kept, self._codes = list[str](), dict[str, int]()

    def _room(self) -> Room:
        """What the cluster has that RAY_ADDRESS names, or this machine."""
        address = cluster.address_of(None, self._around.environment)
        if address is None:
            machine = cluster.this_machine()
            return Room(machine.cores, machine.gpus)
        nodes = checks.nodes_of(address)
        return Room(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes))

    def work(self) -> int:
        """Run what is missing; returns the exit code."""
        for name, data in self._recorded.files.items():
            self._claimed.publish(f"_run/{name}", data)
        self._claimed.publish(SPEC, to_yaml(self._recorded.document).encode())
        try:
            while not self._schedule.is_over:
                self._held.held.raise_if_over()
                for name in self._schedule.startable():
                    self._start(name)
                self._poll()
                self._report()
                time.sleep(POLL_S if self._running else 0.0)
        finally:
            for _, process in self._running.values():
                process.end()
        self._report()
        return self._end()

    def _start(self, name: str) -> None:
        spec = self._flow.spec.steps[name]
        try:
            step = step_of(self._flow, name)
            with explained(step.out, "reading the folder of a step"):
                is_done = step.is_done() and not spec.always
            words = sized(step.words, spec, file_of(self._flow, spec))
        except PixelmillError as error:
            self._fail(name, 2, str(error))
            return
        if is_done:
            self._schedule.fates[name] = "done"
            self._kept.append(name)
            self._held.events.say(f"{name}: is done already")
            return
        self._schedule.fates[name] = "running"
        retries = self._flow.spec.run.retries if spec.retries is None else spec.retries
        self._held.events.say(f"{name}: begins: pixelmill {' '.join(self._flow.written(name))}")
        process = StepProcess(
            words, self._around.environment, retries, lambda text: self._held.events.warn(f"{name}: {text}")
        )
        self._running[name] = step, process
        self._at_work[name] = step.folder

    def _poll(self) -> None:
        for name, (step, process) in list(self._running.items()):
            process.poll()
            if process.code is None:
                continue
            del self._running[name], self._at_work[name]
            if process.code in {0, 3}:
                with explained(step.out, "recording that a step is done"):
                    self._held.held.require()
                    step.finish(tuple(self._flow.written(name)))
                self._schedule.fates[name] = "done"
                self._held.events.say(f"{name}: done")
            else:
                self._fail(
                    name,
                    process.code,
                    f"ended with exit code {process.code}; see why with: pixelmill logs {quote(self._held.out.uri)}",
                )

    def _fail(self, name: str, code: int, why: str) -> None:
        held_back = self._schedule.fail(name)
        self._codes[name] = code
        self._held.events.warn(f"{name}: {why}" + (f"; not begun: {', '.join(held_back)}" if held_back else ""))

    def _report(self) -> None:
        schedule, events = self._schedule, self._held.events
        failed = len(schedule.of("failed", "held back"))
        rows = RowsCounted(total=len(schedule.order), done=len(schedule.of("done")), failed=failed)
        if rows != events.status.rows.model_copy(update={"at_s": 0.0, "attempt": 0}):
            events.emit(rows)
        running = schedule.of("running")
        events.phase(f"steps: {', '.join(running)}" if running else "accounting")

    def _end(self) -> int:
        if self._codes:
            return next(iter(self._codes.values()))
        made = {name: Folder(self._flow.step_out(name), self._held.out.access) for name in self._schedule.order}
        success = {
            "steps": {name: {"out": folder.uri, "output": digest_of_output(folder)} for name, folder in made.items()},
            "finished_at": datetime.fromtimestamp(self._around.now(), UTC).isoformat(timespec="seconds"),
        }
        self._claimed.publish(SUCCESS, json.dumps(success, indent=1).encode())
        return 0

    def summary(self) -> str:
        """What became of each step, for a person."""
        schedule = self._schedule
        lines = [
            f"{len(schedule.of('done'))} of {len(schedule.order)} steps are done, {len(self._kept)} of them before"
        ]
        lines += [f"  {name}: {schedule.fates[name]}: {self._flow.step_out(name)}" for name in schedule.order]
        return "\n".join(lines)
