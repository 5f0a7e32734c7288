"""Train, judge and list networks: the recipe file, what is checked before Ray starts, and what a person sees meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt, ValidationError
from rich.markup import escape
from rich.text import Text

from pixelmill.jobs import checks, extras, spec
from pixelmill.jobs.run import EXIT_FAILED, Surroundings, beside, versions
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.holding import Holding
from pixelmill.jobs.session.ray_watchdog import Guard, run_mark
from pixelmill.jobs.spec import Place, Places, Strict, absolute
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.display import Bar, Terminal, duration, waiting
from pixelmill.jobs.terminal.log_capture import chatter_to, log_file
from pixelmill.pipelines.inputs.names import place_of
from pixelmill.pipelines.outputs.claims import ClaimedFolder
from pixelmill.pipelines.placement import WorkerPool, shortfall
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError, JobStopped, PixelmillError, RunRefused
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Recipe
from pixelmill.workers.recipes.registry import RECIPES, recipe_of, recipe_type

DATA_CPUS = 2
IDENTITY = "_run/training.json"
SPEC = "_run/recipe.yaml"
LOG = "_run/log.txt"


class TrainRun(Strict):
    """Where a training runs and how often it is kept."""

    workers: PositiveInt = Field(1, description="workers that train together, each on its part of a batch")
    threads: PositiveInt | Literal["auto"] = Field("auto", description="threads of each worker; auto shares the cores")
    num_gpus: NonNegativeFloat | Literal["auto"] = Field("auto", description="GPUs of each worker; auto takes one")
    address: str | None = Field(None, description="a Ray cluster; none starts one here")
    cache_gb: NonNegativeFloat = Field(
        4.0, description="decoded data that each worker keeps in memory; more is streamed"
    )
    checkpoint_every_s: NonNegativeFloat = Field(60.0, description="seconds between checkpoints to resume from")
    log_every_steps: PositiveInt = Field(10, description="steps between rows of log.csv")
    timeout_s: float = Field(30.0, gt=0, description="of one request to a store")
    retry_for_s: float = Field(120.0, ge=0, description="how long faults of a store are waited out")


class TrainSpec(Strict):
    """A recipe file: what to train, on what, and where to."""

    version: Literal[1] = 1
    recipe: str = Field(description=f"one of {', '.join(RECIPES)}")
    data: Place | Places = Field(description="the data set: folder, tables or tars, on any store; or several")
    validation: Place | list[Place] | None = Field(None, description="held-out data, where the data set names none")
    hold_out: NonNegativeFloat = Field(
        0.1, description="share that is held out else; from 1 on, the last so many by name"
    )
    data_name: str | None = Field(None, description="what the card calls the data; by default the folder's name")
    licence: str = Field("not stated", description="licence of the data, for the card")
    out: Place = Field(description="folder of the training and its checkpoints, on any store")
    profile: str | None = Field(None, description="named profile with the credentials of the stores")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the recipe; see its Settings")
    run: TrainRun = Field(default_factory=lambda: TrainRun.model_validate({}))

    @property
    def data_uris(self) -> list[str]:
        return [absolute(uri) for uri in ([self.data] if isinstance(self.data, str) else self.data)]

    @property
    def validation_uris(self) -> list[str]:
        named = [] if self.validation is None else self.validation
        return [absolute(uri) for uri in ([named] if isinstance(named, str) else named)]

    @property
    def access(self) -> Access:
        return Access(self.profile, timeout_s=self.run.timeout_s, retry_for_s=self.run.retry_for_s)


@dataclass(frozen=True)
class TrainJob:
    """A recipe file that was read and found to be right; `document` is as it was written, for the run's record."""

    document: dict[str, Any]
    spec: TrainSpec
    recipe: type[Recipe]
    settings: Any

    def identity(self) -> dict[str, Any]:
        """What may not change between a training and its resumption."""
        return {
            "recipe": self.spec.recipe,
            "settings": json.loads(self.settings.model_dump_json()),
            "data": self.spec.data_uris,
            "validation": self.spec.validation_uris,
            "hold_out": self.spec.hold_out,
        }


def load(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> TrainJob:
    """Parse a recipe file; JobError with every fault. `--set epochs=20` means settings.epochs."""
    extras.require("train", name)
    document, root = spec.parse(text, name=name, what="a recipe file is a mapping with recipe, data and out")
    for override in overrides:
        first = override.partition("=")[0].partition(".")[0]
        spec.override_key(document, override if first in TrainSpec.model_fields else f"settings.{override}")
    spec.refuse_credentials(document, name=name, environment=environment)
    with spec.hidden_values(document, environment, name):
        return _checked(document, root, name, environment)


def _checked(document: dict[str, Any], root: yaml.Node | None, name: str, environment: Mapping[str, str]) -> TrainJob:
    try:
        train = TrainSpec.model_validate(spec.expanded(document, environment, name))
    except ValidationError as error:
        everywhere = _paths(TrainSpec, {"run": TrainRun})
        lines = spec.faults(error, root, lambda path: _keys(path, TrainSpec, {"run": TrainRun}), everywhere, document)
        raise JobError(f"{name}: this training can't be run\n" + "\n".join(lines)) from error
    if train.recipe not in RECIPES:
        raise JobError(f"{name}: recipe: there is no {train.recipe}; there are {', '.join(RECIPES)}")
    recipe = recipe_type(train.recipe)
    return TrainJob(document, train, recipe, _settings(recipe, train, name))


def _settings(recipe: type[Recipe], train: TrainSpec, name: str) -> Any:
    try:
        return recipe.Settings(**_placed(recipe, train.settings))
    except ValidationError as error:
        everywhere = _paths(TrainSpec, {"run": TrainRun})  # --set lets `settings.` be left out
        lines = spec.faults(error, None, lambda path: _keys(path, recipe.Settings, {}), everywhere)
        raise JobError(f"{name}: settings of {recipe.NAME}\n" + "\n".join(lines)) from error


def _placed(recipe: type[Recipe], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose assets are absolute: a path is written relative to where the command runs, and used elsewhere."""
    assets = {name: settings[name] for name in recipe.ASSETS if isinstance(settings.get(name), str)}
    files = {name: uri for name, uri in assets.items() if not uri.startswith("torchvision:") and not _ships(uri)}
    return {**settings, **{name: absolute(uri) for name, uri in files.items()}}


def _ships(name: str) -> bool:
    from pixelmill.workers.models.zoo import zoo_path

    return zoo_path(name) is not None


def _keys(path: list[Any], top: type[BaseModel], inner: dict[str, type[BaseModel]]) -> list[str]:
    parents = [part for part in path[:-1] if isinstance(part, str)]
    return list((inner.get(parents[-1], top) if parents else top).model_fields)


def _paths(top: type[BaseModel], inner: dict[str, type[BaseModel]]) -> list[str]:
    return [*top.model_fields, *(f"{key}.{name}" for key, model in inner.items() for name in model.model_fields)]


# ----------------------------------------------------------------------------------------------------------- training


class TrainingRun:
    """A training on its way; `execute` begins or resumes it and returns what the terminal says at the end."""

    def __init__(self, job: TrainJob, around: Surroundings) -> None:
        self.job, self.around = job, around
        self.out = Folder(absolute(job.spec.out), job.spec.access)
        self._told: list[str] = []

    def execute(self) -> str:
        from pixelmill.pipelines.training import checkpoints

        self._check_identity()
        before = checkpoints.read_progress(self.out)
        if before is not None and before.is_complete:
            return self._summary(f"was trained already, {before.step:,} steps")
        checks.check_writable(self.out)
        plan = self._plan()
        self.out.check_writable()
        with log_file() as log, chatter_to(log) as stderr:
            terminal = Terminal(stderr, is_terminal=self.around.is_terminal, quiet=self.around.quiet)
            for line in self._told:
                terminal.say(line)
            with Holding(self.out, "train", terminal.say) as held:
                self._sign(held)
                self._attempt(replace(plan, claim=held.claim), held, terminal, log)
        return self._summary("trained")

    def _attempt(self, plan: Any, held: Holding, terminal: Terminal, log: Path) -> None:
        from pixelmill.pipelines.training import checkpoints

        before = checkpoints.read_progress(self.out)
        if before is not None:
            terminal.say(f"goes on at step {before.step:,}")
        guard = Guard(lambda dead: self._end_at_once(dead, terminal, held, guard), run_mark())
        try:
            with terminal:
                self._fit(plan, guard, terminal, held)
        except BaseException as raised:
            traceback.print_exc()
            error = held.loss_behind(raised)
            if error is raised:
                raise
            raise error from raised
        finally:
            with suppress(Exception):  # the error that is under way says more
                self._claimed(held).publish(LOG, scrub(log.read_text(errors="replace")).encode())

    def _check_identity(self) -> None:
        """The folder is empty, or holds this very training."""
        try:
            stored = self.out.read(IDENTITY)
        except Exception as error:
            raise explain(error, self.out.uri, "reading the output folder") from error
        if stored is not None:
            _require_same(json.loads(stored), self.job.identity(), self.out.uri)

    def _sign(self, held: Holding) -> None:
        """The folder is this training's from now on; not before its data is read, or a mended command would be refused."""
        try:
            held.require()
            if not self.out.create(IDENTITY, json.dumps(self.job.identity(), indent=1).encode()):
                self._check_identity()
            spec = yaml.safe_dump(self.job.document, sort_keys=False, allow_unicode=True)
            self._claimed(held).publish(SPEC, spec.encode())
        except PixelmillError:
            raise
        except Exception as error:
            raise explain(error, self.out.uri, "writing to the output folder") from error

    def _claimed(self, held: Holding) -> ClaimedFolder:
        return ClaimedFolder(self.out, held.claim)

    def _plan(self) -> Any:
        """What the workers are told, after the first samples were read here: bad data is told before Ray starts."""
        from pixelmill.pipelines.training import checkpoints
        from pixelmill.pipelines.training.loop import TrainingPlan, rehearse
        from pixelmill.pipelines.training.sampling import BatchShare
        from pixelmill.pipelines.training.splits import split

        train, settings = self.job.spec, self.job.settings
        share = BatchShare(settings.batch, settings.accumulate, train.run.workers)
        found = split(
            self.job.recipe.ROLES, train.data_uris, train.validation_uris, train.hold_out, settings.seed, train.access
        )
        with checkpoints.assets(self.job.recipe, settings, train.access) as assets:
            for data in (found.train, found.held_out):
                if data is not None:
                    rehearse(self.job.recipe(settings, assets), data, share.together)
        self._told = found.train.says()
        names = [PurePosixPath(uri).name for uri in train.data_uris]
        return TrainingPlan(
            recipe=train.recipe,
            settings=json.loads(settings.model_dump_json()),
            train=found.train,
            held_out=found.held_out,
            split=found.says,
            trained_on=() if found.has_own else tuple(sorted(set(found.train.fingerprints()))),
            data=train.data_name or ", ".join(names),
            data_licence=train.licence,
            out=self.out.uri,
            access=train.access,
            versions=versions(),
            git_revision=_git_revision(),
            cache_bytes=int(train.run.cache_gb * 1e9),
            checkpoint_every_s=train.run.checkpoint_every_s,
            log_every_steps=train.run.log_every_steps,
        )

    def _fit(self, plan: Any, guard: Guard, terminal: Terminal, held: Holding) -> None:
        from pixelmill.pipelines.progress import ProgressStore
        from pixelmill.pipelines.training import loop

        run = self.job.spec.run
        address = cluster.address_of(run.address, self.around.environment)
        machine = cluster.this_machine()
        gpus_each = (1.0 if machine.gpus and address is None else 0.0) if run.num_gpus == "auto" else run.num_gpus
        pool = WorkerPool(run.workers + DATA_CPUS, 1, 0)
        shared = (
            1 if address is not None else max(1, machine.cores // run.workers)
        )  # a worker asks a cluster for one CPU
        threads = shared if run.threads == "auto" else run.threads
        with self._ray(address, pool, machine, guard) as (folder, available):
            if run.num_gpus == "auto" and address is not None:
                gpus_each = 1.0 if available.get("GPU", 0) >= run.workers else 0.0
            # Beside the workers, who keep their CPUs to the end, or the tasks that decode for them would wait for ever.
            lack = shortfall(WorkerPool(run.workers + DATA_CPUS, 1), available)
            lack = lack or shortfall(WorkerPool(run.workers, 0, gpus_each), available)
            if lack:
                raise JobError(
                    f"run: {run.workers} workers, and {DATA_CPUS} CPUs to read the data for them, can't be placed: {lack}; "
                    "lower run.workers or run.num_gpus"
                )
            scale = loop.WorkerGroup(run.workers, threads, gpus_each)
            store = ProgressStore()
            with following(lambda: json.loads(store.get(loop.NEWS) or "{}"), terminal):
                # On another thread, so that Ctrl-C stays ours: Ray Train takes it over, and ends without a word.
                work = (loop.fit(*each) for each in [(plan, scale, store, str(folder / "train"))])
                for _ in beside(work, held.raise_if_lost):
                    pass

    @contextmanager
    def _ray(
        self, address: str | None, pool: WorkerPool, machine: cluster.Machine, guard: Guard
    ) -> Iterator[tuple[Path, dict[str, float]]]:
        import ray

        def start() -> Path:
            if address is not None:
                cluster.connect(address)
                return cluster.temporary_folder()
            guard.start()
            return cluster.start_local(pool, machine, os.environ)

        cluster.remove_stale()
        folder: Path | None = None
        # On another thread, so that Ctrl-C does not come in the middle of it, and Ray does not take SIGTERM over.
        with ThreadPoolExecutor(1, "ray") as thread:
            started = thread.submit(start)
            try:
                folder = started.result()
                yield folder, dict(ray.cluster_resources())
            finally:
                with suppress(Exception):
                    folder = started.result()
                cluster.stop(guard, folder)

    def _end_at_once(self, dead: str, terminal: Terminal, held: Holding, guard: Guard) -> None:
        died = JobStopped(f"Ray's {dead} died; the same command goes on from the last checkpoint")
        error = held.loss_behind(died)
        terminal.end(f"pixelmill: {error}")
        held.release()
        cluster.remove_all(guard)
        os._exit(EXIT_FAILED)

    def _summary(self, happened: str) -> str:
        from pixelmill.workers.models.card import Card

        text = self.out.read("card.json")
        if text is None:
            return f"{self.out.uri}: {happened}"
        card = Card.model_validate_json(text)
        goal = self.job.recipe.GOAL[0]
        shown = {goal: card.metrics[goal]} if goal in card.metrics else {}
        best = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        at = f"best at step {card.metrics.get('step', 0):,.0f}" + (f": {best}" if best else "")
        return (
            f"{self.out.uri}: {happened}; {at}\n"
            f"the curve is {self.out.uri}/curve.png, pictures are in {self.out.uri}/samples\n"
            f"judge it with: pixelmill eval {self.job.spec.recipe} --checkpoint {self.out.uri} --data ..."
        )


def _require_same(there: dict[str, Any], here: dict[str, Any], uri: str) -> None:
    flat_there, flat_here = _flat(_by_place(there)), _flat(_by_place(here))
    differ = [key for key in sorted(flat_there | flat_here) if flat_there.get(key) != flat_here.get(key)]
    if differ:
        several = "; ".join(f"{key}: {flat_there.get(key)} there, {flat_here.get(key)} here" for key in differ[:6])
        raise RunRefused(
            f"{uri}: holds another training, which this one can't go on with: {several}; choose another out"
        )


def _by_place(identity: dict[str, Any]) -> dict[str, Any]:
    """Two spellings of one place are the same data."""
    return identity | {key: [place_of(uri) for uri in identity.get(key, [])] for key in ("data", "validation")}


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "settings"} | {
        f"settings.{key}": value for key, value in document.get("settings", {}).items()
    }


def _git_revision() -> str | None:
    """The revision of the code, where it runs from a checkout of its own; "-dirty" where files were changed since."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists() or shutil.which("git") is None:
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    asked = subprocess.run(["git", "-C", str(here), *describe], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


# ------------------------------------------------------------------------------------------------------------ screen


@dataclass(frozen=True)
class News:
    """What the first worker told last, for the terminal."""

    told: Mapping[str, Any]

    @property
    def phase(self) -> str:
        return self.told.get("phase", "starting the workers")

    def line(self, waited_s: float = 0.0) -> str:
        return line_of(self.told) if "step" in self.told else waiting(self.phase, waited_s)

    def bar(self, waited_s: float = 0.0) -> Bar:
        if "step" not in self.told:
            return Bar(waiting(self.phase, waited_s))
        rate = f"{self.told['images_per_s']:,.1f} images/s" if "images_per_s" in self.told else ""
        return Bar(self.phase, self.told["step"], self.told["steps"], rate, self.told.get("left_s"))

    def notes(self) -> list[Text]:
        """The loss and the last metrics."""
        return [Text(figures, style="dim")] if (figures := ", ".join(_figures(self.told))) else []


@contextmanager
def following(read: Callable[[], Mapping[str, Any]], terminal: Terminal) -> Iterator[None]:
    """Show what the workers tell while the block runs."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(0.5):
            with suppress(Exception):  # nothing but the display depends on it
                terminal.show(News(read()))

    thread = threading.Thread(target=follow, name="news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def line_of(news: Mapping[str, Any]) -> str:
    """What a worker told as one line: step, loss, images per second, ETA, the last metrics."""
    parts = [f"{news['phase']}: step {news['step']:,} / {news['steps']:,}"]
    loss, *metrics = _figures(news) if "loss" in news else ["", *_figures(news)]
    if loss:
        parts += [loss, f"{news['images_per_s']:,.1f} images/s", f"ETA {duration(news['left_s'])}"]
    return ", ".join([*parts, *metrics])


def _figures(news: Mapping[str, Any]) -> list[str]:
    loss = {"loss": news["loss"]} if "loss" in news else {}
    shown = {**loss, **dict(list(news.get("metrics", {}).items())[:3])}
    return [f"{name} {value:.4g}" for name, value in shown.items()]


# ------------------------------------------------------------------------------------------------------- evaluation


def evaluate(
    network: str, uri: str, data: list[str], part: str, overrides: list[str], picture: str | None
) -> dict[str, Any]:
    """Metrics of a checkpoint on data that it was not trained on, by the recipe that its card names."""
    extras.require("train", "eval")
    import torch

    from pixelmill.pipelines.training import checkpoints, loop
    from pixelmill.pipelines.training.splits import to_evaluate

    access = Access()
    if picture is not None:
        checks.check_file(picture)
    spec.refuse_credentials(uri, data)
    module, card = checkpoints.load_from_store(uri if _ships(uri) else absolute(uri), access)
    if network not in {card.network, card.recipe}:
        raise JobError(f"{uri}: holds a {card.network}, trained by the recipe {card.recipe}, and no {network}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with judging(card, uri, overrides, access) as recipe:
        found, says = to_evaluate(
            recipe.ROLES,
            [absolute(each) for each in data],
            part,
            frozenset(card.trained_on),
            access,
            getattr(recipe.settings, "class_names", None),
        )
        metrics, shown = loop.evaluate(recipe, module, found, device)
    if picture is not None and shown is not None:
        from pixelmill.workers.codecs.encode import encode_png_tensor

        Path(picture).parent.mkdir(parents=True, exist_ok=True)
        Path(picture).write_bytes(encode_png_tensor(shown.cpu()))
    return {
        "network": card.network,
        "checkpoint": uri,
        "data": [scrub(each) for each in data],
        "split": says,
        "samples": len(found),
        "metrics": metrics,
    }


@contextmanager
def judging(
    card: Card, uri: str, overrides: Sequence[str], access: Access, *, needs_assets: bool = True
) -> Iterator[Recipe]:
    """The recipe of the card at `uri`, with what the user puts in the place of its settings, and what it judges by."""
    from pixelmill.pipelines.training import checkpoints

    document: dict[str, Any] = {"settings": {}}
    for override in overrides:
        spec.override_key(document, f"settings.{override}")
    kind = type(recipe_of(card))
    changes = _placed(kind, document["settings"])
    with ExitStack() as stack:
        assets = dict[str, Path]()
        for name in kind.JUDGED_WITH if needs_assets else ():
            asset = changes.get(name, card.settings.get(name))
            if asset is None or asset.startswith("torchvision:"):
                continue
            if name not in changes and not Path(asset).exists():
                raise JobError(f"{uri}: is judged with its {name}, {asset}, which is not here; give --set {name}=FILE")
            assets[name] = stack.enter_context(checkpoints.asset(asset, access))
        try:
            recipe = recipe_of(card, changes, assets)
        except ValidationError as error:
            lines = spec.faults(error, None, lambda path: _keys(path, kind.Settings, {}))
            raise JobError(f"{uri}: settings of {kind.NAME}\n" + "\n".join(lines)) from error
        yield recipe


def zoo() -> list[dict[str, Any]]:
    """What ships, as its cards say."""
    from pixelmill.workers.models.card import read_card
    from pixelmill.workers.models.zoo import zoo_names, zoo_path

    listed = []
    for name in zoo_names():
        path = zoo_path(name)
        assert path is not None
        card = read_card(path)
        listed.append(
            {"name": name, "bytes": path.stat().st_size, **card.model_dump(mode="json", exclude={"trained_on"})}
        )
    return listed


def print_zoo(listed: list[dict[str, Any]]) -> None:
    """The zoo for a person: a line each with its figure, and what it was trained on below it."""
    console = PrintableConsole(highlight=False, soft_wrap=True)
    wide = max(len(each["name"]) for each in listed)
    for each in listed:
        goal = recipe_type(each["recipe"]).GOAL[0]
        metric = f"{goal} {each['metrics'][goal]:.4g}" if goal in each["metrics"] else ""
        console.print(
            f"[bold]{each['name']:<{wide}}[/bold]  {each['network']:<12}{each['bytes'] / 1e6:5.1f} MB  {metric}"
        )
        for label in ("data", "data_licence"):
            console.print(f"{'':<{wide}}  {label.removeprefix('data_')}: {escape(each[label])}", style="dim")
