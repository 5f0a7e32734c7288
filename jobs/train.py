"""One attempt at a training: check, read the first samples, train on Ray, follow what the workers report."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from pixelmill.jobs import checks
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host.beside import call_beside
from pixelmill.jobs.metrics.metering import metered
from pixelmill.jobs.outcome import Ending, Stopwatch
from pixelmill.jobs.session import cluster, minimal_ray
from pixelmill.jobs.session.limits import Allowance
from pixelmill.jobs.session.ray_session import PrivateRay
from pixelmill.jobs.session.session import JobKind, Session, session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.screen import screen
from pixelmill.jobs.training import marks, resuming
from pixelmill.jobs.training.following import ask_to_end, following
from pixelmill.jobs.training.initial_weights import initialised
from pixelmill.jobs.training.job import TrainJob
from pixelmill.jobs.training.plan import plan_training, pool_of, scale_of
from pixelmill.jobs.training.summary import summary
from pixelmill.jobs.training.trackers import tracking_of
from pixelmill.jobs.versions import decoding_code
from pixelmill.pipelines.outputs.claims import Claim, ClaimedFolder
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.driver import fit
from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.pipelines.training.sample_cache import SampleCache
from pixelmill.workers.wording import counted

LOG = "_run/log.txt"
RAY_DIED = "Ray's {dead} died; the same command resumes from the last checkpoint"


def train_job(job: TrainJob, around: Surroundings) -> str:
    """Begin or resume a training; returns its summary for a person. Raises PixelmillError or KeyboardInterrupt."""
    out = job.open_out()
    job = initialised(job, out)
    protocol, changed = marks.check_identity(job, out)
    before = checkpoints.read_progress(out)
    if before is not None and before.is_complete and not changed & resuming.LENGTH:
        return summary(job, out, f"was trained already, {counted(before.step, 'step')}")
    tracking = tracking_of(job.spec.run.trackers, around.environment)
    with checks.nothing_started():
        checks.check_writable(out)
        planned = plan_training(job, out.uri, protocol, is_new=before is None)
    resumed = resuming.Resumption(job, before, len(planned.plan.train), changed)
    resumed.check(out)
    if resumed.is_over:
        return summary(job, out, f"was trained already, {counted(resumed.step, 'step')}")
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
            marks.sign(job, held, protocol, changed)
            disk = _disk_cache(job, held, around)
            _train(job, replace(planned.plan, claim=held.held.claim, disk_cache=disk, tracking=tracking), held, around)
            marks.succeed(job, held, protocol)
    return summary(job, out, "trained")


def _record(ending: Ending) -> Mapping[str, object]:
    return {**ending}


def _publish_log(out: Folder, claim: Claim, log: bytes) -> None:
    ClaimedFolder(out, claim).publish(LOG, log)


def _disk_cache(job: TrainJob, held: Session, around: Surroundings) -> SampleCache | None:
    """Where workers keep decoded samples on their disk, which is said; None where nothing is kept."""
    most_gb = job.spec.run.cache_disk_gb
    if around.cache_dir is None or not most_gb:
        return None
    disk = SampleCache(str(around.cache_dir.with_name("samples")), int(most_gb * 1e9), decoding_code())
    held.events.say(
        f"decoded samples are kept in {disk.folder} ({most_gb:g} GB at most; run.cache_disk_gb: 0 keeps none)"
    )
    return disk


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
        with following(store, held.events), metrics, lean:
            # On another thread, so that we handle Ctrl-C: Ray Train would take it over and end without a message.
            storage = str(connected.folder / "train")
            ask = partial(ask_to_end, store, held.events)
            call_beside(lambda: fit(plan, scale, store, storage), held.held.raise_if_over, ask)
