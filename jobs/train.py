"""One attempt at a training: check, read the first samples, train on Ray, follow what the workers report."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from pixelmill.jobs import checks, resuming
from pixelmill.jobs.documents.parsing import to_yaml
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host.beside import call_beside
from pixelmill.jobs.identity import protocol_of, require_same_training
from pixelmill.jobs.initial_weights import initialised, keep_initial
from pixelmill.jobs.metrics.metering import metered
from pixelmill.jobs.outcome import Ending, Stopwatch
from pixelmill.jobs.session import cluster, minimal_ray
from pixelmill.jobs.session.limits import Allowance
from pixelmill.jobs.session.ray_session import PrivateRay
from pixelmill.jobs.session.session import JobKind, Session, session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.screen import screen
from pixelmill.jobs.trackers import tracking_of
from pixelmill.jobs.training_job import TrainJob
from pixelmill.jobs.training_plan import plan_training, pool_of, scale_of
from pixelmill.jobs.versions import decoding_code
from pixelmill.pipelines.events import StepsCounted
from pixelmill.pipelines.outputs.claims import Claim, ClaimedFolder
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.driver import fit
from pixelmill.pipelines.training.failures import failures_in
from pixelmill.pipelines.training.plan import NEWS, STOP, WARNING, News, TrainingPlan
from pixelmill.pipelines.training.protocol import Protocol
from pixelmill.pipelines.training.sample_cache import SampleCache
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.weight_files import WEIGHTS

IDENTITY = "_run/training.json"
SPEC = "_run/recipe.yaml"
LOG = "_run/log.txt"
POLL_S = 0.5
SAVE_WITHIN_S = 60.0
"""After Ctrl-C or SIGTERM. Kubernetes grants 30 s unless terminationGracePeriodSeconds says more."""
RAY_DIED = "Ray's {dead} died; the same command resumes from the last checkpoint"


def train_job(job: TrainJob, around: Surroundings) -> str:
    """Begin or resume a training; returns its summary for a person. Raises PixelmillError or KeyboardInterrupt."""
    out = job.open_out()
    job = initialised(job, out)
    protocol, changed = _check_identity(job, out)
    before = checkpoints.read_progress(out)
    if before is not None and before.is_complete and not changed & resuming.LENGTH:
        return _summary(job, out, f"was trained already, {before.step:,} steps")
    tracking = tracking_of(job.spec.run.trackers, around.environment)
    checks.check_writable(out)
    planned = plan_training(job, out.uri, protocol, is_new=before is None)
    resumed = resuming.Resumption(job, before, len(planned.plan.train), changed)
    resumed.check(out)
    if resumed.is_over:
        return _summary(job, out, f"was trained already, {resumed.step:,} steps")
    out.check_writable()
    stopwatch = Stopwatch(around.started_s, {}, around.now)
    with screen(around) as shown:
        events = EventStream(shown.terminal, "train", around.now)
        for note in (*planned.notes, *resumed.notes()):
            events.say(note)
        limits = job.spec.run
        allowed = Allowance.of(limits.deadline, limits.max_cost, limits.node_hour_price, around.now())
        kind = JobKind("train", _record, _publish_log, RAY_DIED, allowed)
        with session(out, shown, events, around, stopwatch, kind) as held:
            _sign(job, held, protocol, changed)
            disk = _disk_cache(job, around)
            if disk is not None:
                most = f"{disk.most_bytes / 1e9:g} GB at most; run.cache_disk_gb: 0 keeps none"
                events.say(f"decoded samples are kept in {disk.folder} ({most})")
            _train(job, replace(planned.plan, claim=held.held.claim, disk_cache=disk, tracking=tracking), held, around)
            _succeed(job, held, protocol)
    return _summary(job, out, "trained")


def _disk_cache(job: TrainJob, around: Surroundings) -> SampleCache | None:
    most_bytes = int(job.spec.run.cache_disk_gb * 1e9)
    if around.cache_dir is None or not most_bytes:
        return None
    return SampleCache(str(around.cache_dir.with_name("samples")), most_bytes, decoding_code())


def _record(ending: Ending) -> Mapping[str, object]:
    return {**ending}


def _publish_log(out: Folder, claim: Claim, log: bytes) -> None:
    ClaimedFolder(out, claim).publish(LOG, log)


def _check_identity(job: TrainJob, out: Folder) -> tuple[Protocol, frozenset[str]]:
    """How the training in the folder splits its data, and the settings that changed since it was last resumed. Raises
    RunRefused unless it is empty or holds this training."""
    with explained(out.uri, "reading the output folder"):
        stored = out.read(IDENTITY)
    protocol = protocol_of(stored)
    if stored is None:
        return protocol, frozenset()
    return protocol, require_same_training(stored, job.identity(protocol), out, job.completed, resuming.MAY_CHANGE)


def _sign(job: TrainJob, held: Session, protocol: Protocol, changed: frozenset[str]) -> None:
    """Mark the folder as this training's, with the settings that changed. Only after its data is read: otherwise a
    corrected command would be refused."""
    out = held.out
    with explained(out.uri, "writing to the output folder"):
        held.held.require()
        if not out.create(IDENTITY, json.dumps(job.identity(protocol), indent=1).encode()):
            _check_identity(job, out)
        claimed = ClaimedFolder(out, held.held.claim)
        keep_initial(job, claimed)
        if changed:
            claimed.publish(IDENTITY, json.dumps(job.identity(protocol), indent=1).encode())
        claimed.publish(SPEC, to_yaml(job.document).encode())


def _succeed(job: TrainJob, held: Session, protocol: Protocol) -> None:
    """Say in _SUCCESS that the training has taken its steps, and what came of it, as runs do."""
    with explained(held.out.uri, "recording that the training is complete"):
        progress, card = checkpoints.read_progress(held.out), json.loads(held.out.read("card.json") or b"{}")
        success = {
            "steps": None if progress is None else progress.step,
            "failed": 0 if progress is None else progress.failed,
            "identity": job.identity(protocol),
            "inputs_digest": card.get("marks_sha256"),
            "weights": held.out.tag(WEIGHTS),
            "metrics": card.get("metrics"),
            "test_metrics": card.get("test_metrics"),
            "finished_at": datetime.fromtimestamp(held.stopwatch.now_s, UTC).isoformat(timespec="seconds"),
        }
        ClaimedFolder(held.out, held.held.claim).publish(SUCCESS, json.dumps(success, indent=1).encode())


def _train(job: TrainJob, plan: TrainingPlan, held: Session, around: Surroundings) -> None:
    """Train to the end on a Ray of its own or a cluster."""
    before = checkpoints.read_progress(held.out)
    if before is not None:
        held.events.say(f"resumes at step {before.step:,}")
    run, machine = job.spec.run, cluster.this_machine()
    address = cluster.address_of(run.address, around.environment)
    with held.ray(address or PrivateRay(machine, pool_of(run, machine), makes_environments=True)) as ray:
        connected = ray.connect()
        scale = scale_of(run, machine, connected.nodes, is_cluster=address is not None)
        store = ProgressStore()
        lean = minimal_ray.without_cleaner() if address is None else nullcontext()
        metrics = metered(held.events, held.out.uri, port=run.metrics_port, is_cluster=address is not None)
        with _following(store, held.events), metrics, lean:
            # On another thread, so that we handle Ctrl-C: Ray Train would take it over and end without a message.
            storage = str(connected.folder / "train")
            ask = partial(_ask_to_end, store, held.events)
            call_beside(lambda: fit(plan, scale, store, storage), held.held.raise_if_over, ask)


def _ask_to_end(store: ProgressStore, events: EventStream) -> float:
    """Ask the workers for a checkpoint and their end; returns how many seconds to wait for them, 0 before the first step."""
    news = store.get(NEWS)
    if news is None or "step" not in json.loads(news):
        return 0.0
    store.put(STOP, "")
    events.say(f"saves a checkpoint, for {SAVE_WITHIN_S:g} s at most; Ctrl-C again ends it at once")
    return SAVE_WITHIN_S


@contextmanager
def _following(store: ProgressStore, events: EventStream) -> Generator[None]:
    """Emit the events that the first worker reports while the block runs."""
    over = threading.Event()
    events.phase("starting the workers")

    def follow() -> None:
        last: str | None = None
        warned = set[str]()
        is_over, failed = False, 0
        while not is_over:
            is_over = over.wait(POLL_S)  # once more after the end, for what was reported last
            with suppress(Exception):  # nothing but the display depends on it
                for warning in set(store.reports(WARNING)) - warned:
                    warned.add(warning)
                    events.say(warning)
                for failure in failures_in(store)[failed:]:
                    failed += 1
                    events.warn(f"{failure}; the training resumes from its newest checkpoint, twice at most")
                if (news := store.get(NEWS)) is not None and news != last:
                    _pass_on(json.loads(news), events)
                    last = news

    thread = threading.Thread(target=follow, name="news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _pass_on(news: News, events: EventStream) -> None:
    """Emit the reports of the first worker as events."""
    events.phase(news["phase"])
    if "step" in news:
        events.emit(StepsCounted.model_validate(news))


def _skipped(out: Folder) -> str:
    """The line on broken samples; empty where there are none."""
    progress = checkpoints.read_progress(out)
    if progress is None or not progress.failed:
        return ""
    return f"{progress.failed:,} broken samples were skipped; failed/ names them and why\n"


def _summary(job: TrainJob, out: Folder, happened: str) -> str:
    text = out.read("card.json")
    if text is None:
        return f"{out.uri}: {happened}"
    card = Card.model_validate_json(text)
    goal = job.recipe.GOAL[0]
    best = f": {goal} {card.metrics[goal]:.4g}" if goal in card.metrics else ""
    tested = card.test_metrics or {}
    test = f"; on the test part {tested[goal]:.4g}" if goal in tested else ""
    return (
        f"{out.uri}: {happened}; best at step {card.metrics.get('step', 0):,.0f}{best}{test}\n{_skipped(out)}"
        f"the curve is {out.uri}/curve.png, pictures are in {out.uri}/samples\n"
        f"judge it with: pixelmill eval {job.spec.recipe} --checkpoint {out.uri} --data ..."
    )
