"""Laws 1, 4 and 6 for drivers that are suspended, killed and overtaken at any call of the store, in three dialects of stores.

They hold for inputs that make one row, and for those that make many, which appear together or not at all.

What runs here is what a run does to the dataset (the modules of pipelines/outputs); only the network is a table of strings.
Whether an input fails depends on the attempt, as with passing faults, so that two attempts make different rows of the same part.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id
from pixelmill.pipelines.outputs import claims, publishing
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.attempt import IDENTITY, Attempt, pending
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, input_fields
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, PixelmillError, RunRefused
from tests import simulation
from tests.simulation import ROOT, Dialect, Driver, World

pytestmark = pytest.mark.faults

DECIDES = ("data/", "failed/", "_SUCCESS", "README.md", IDENTITY)
WRITES = ("data/", "failed/", "_SUCCESS", "README.md", "_run/manifest/", "_run/identity", "_run/attempts/", "_run/spec")
FIRST = ["a", "b", "c", "d", "e"]


def fails(identity: str, epoch: int) -> bool:
    """Whether an input fails in this attempt: some do now and then, and none for ever."""
    digest = hashlib.blake2b(f"{identity} {epoch}".encode(), digest_size=1).digest()
    return digest[0] < 128


def rows_of(identity: str, *, makes_many: bool) -> int:
    """How many rows an input makes: 1 to 4, as its bytes have it."""
    return 1 + int(identity[0], 16) % 4 if makes_many else 1


def table(rows: pa.Table, epoch: int, *, makes_many: bool) -> pa.Table:
    """What a worker of this attempt makes of these inputs."""
    fields = [*input_fields(makes_many=makes_many), pa.field("by", pa.int32())]
    schema = pa.schema([*fields, *(pa.field(name, pa.string()) for name in ERROR_COLUMNS)])
    made = []
    for row in rows.select(["id", "uri"]).to_pylist():
        bad = {"stage": "decode", "error_type": "Corrupt", "error": f"in attempt {epoch}"}
        places = range(rows_of(row["id"], makes_many=makes_many))
        good = [{"by": epoch, "place": place} if makes_many else {"by": epoch} for place in places]
        made += [row | each for each in ([bad] if fails(row["id"], epoch) else good)]
    return pa.Table.from_pylist(made, schema)


def listed(source: list[str]) -> pa.Table:
    return pa.Table.from_pylist([{"id": input_id(name, None), "uri": name} for name in source], SCHEMA)


def program(driver: Driver, source: list[str], command: str, job: str = "job") -> None:
    """One process of `pixelmill run` or `pixelmill retry`, from its checks to its record."""
    folder = driver.folder_in_use = driver.folder()
    if command == "retry" and folder.read(IDENTITY) is None:
        raise JobError("nothing to retry")
    folder.check_writable()
    driver.claim = claims.take(folder, simulation.holder(driver), is_gone=driver.world.is_gone, clock=driver)
    ended = "error"
    try:
        work(driver, folder, source, command, job)
        ended = "complete"
    finally:
        simulation.record(driver, ended)


def work(driver: Driver, folder: Folder, source: list[str], command: str, job: str) -> None:
    claim = driver.claim
    assert claim is not None
    attempt = Attempt(folder, driver, row_bytes=lambda _: 1, file_bytes=2)
    segments, _ = attempt.resume()

    def check(stored: bytes) -> None:
        if json.loads(stored) != {"job": job}:
            raise RunRefused("another job")

    attempt.sign({"job": job}, check, None if command == "retry" else job)

    def new(listing: Listing, known: Known) -> list[pa.Table]:
        return [known.fresh(listed(source))]

    segments = (
        attempt.list_failed(segments, lambda rows: rows) if command == "retry" else attempt.list_new(segments, new)[0]
    )
    segments = attempt.seal(segments)
    rows = Rows(folder, segments)
    for part in pending(segments, progress(folder), retry=command == "retry"):
        publish(folder, driver, part, rows)
    settle(folder, segments)
    found = account(folder, segments)
    if not found.is_exact:
        raise PixelmillError(f"does not add up: {found}")
    attempt.succeed({"inputs": found.listed, "done": found.done, "failed": found.failed, "segments": len(segments)})
    driver.has_succeeded = True


def publish(folder: Folder, driver: Driver, part: Part, rows: Rows) -> None:
    """What a worker does, which may be another process than the driver, and looks at the claim for itself."""
    claim = driver.claim
    assert claim is not None
    made = table(rows.of(part), claim.epoch, makes_many=driver.world.makes_many)
    if not claim.is_fenced:
        claims.require(folder, claim)
    publishing.publish(folder, part.name, made, {"listing": part.writer, "attempt": claim.epoch}, Compression())


# Laws, from what an outsider reads


def tables(world: World, below: str) -> list[pa.Table]:
    names = [name for name in world.objects if name.startswith(f"{ROOT}/{below}/")]
    return [pq.read_table(pa.BufferReader(world.objects[name])) for name in sorted(names)]


def ids(world: World, below: str) -> list[str]:
    """The inputs that have a row there; twice where they have one twice, or rows in two files."""
    found: list[str] = []
    for each in tables(world, below):
        rows = each.select([name for name in ("id", "place") if name in each.column_names]).to_pylist()
        times = Counter(tuple(row.values()) for row in rows)
        most = Counter[str]()
        for (identity, *_), count in times.items():
            most[identity] = max(most[identity], count)
        found += most.elements()
    return found


def assert_inputs_are_whole(world: World) -> None:
    """Every input that has a row has all of them, in one file and by one attempt."""
    for each in tables(world, "data"):
        assert ("place" in each.column_names) == world.makes_many
        rows: dict[str, list[tuple[int, int]]] = {}
        for row in each.to_pylist():
            rows.setdefault(row["id"], []).append((row.get("place", 0), row["by"]))
        for identity, some in rows.items():
            wanted = rows_of(identity, makes_many=world.makes_many)
            assert sorted(place for place, _ in some) == list(range(wanted))
            assert len({by for _, by in some}) == 1


def decided(world: World) -> dict[str, bytes]:
    """Everything that an attempt which wakes up late may not change."""
    names = [name.removeprefix(f"{ROOT}/") for name in world.objects]
    kept = [n for n in names if n.startswith(DECIDES) or (n.startswith("_run/manifest/") and n.endswith(".json"))]
    return {name: world.objects[f"{ROOT}/{name}"] for name in kept}


def assert_complete(world: World, source: list[str]) -> None:
    """Law 1 from the files alone, and that they are what _SUCCESS and the card say."""
    data, failed = ids(world, "data"), ids(world, "failed")
    assert Counter([*data, *failed]) == Counter(input_id(name, None) for name in source)
    assert_inputs_are_whole(world)
    success = json.loads(world.read("_SUCCESS") or b"{}")
    assert (success["inputs"], success["done"], success["failed"]) == (len(source), len(data), len(failed))
    said = f"- inputs: {len(source):,}, of which {len(data):,} are done and {len(failed):,} failed"
    assert said in (world.read("README.md") or b"").decode()


class Drivers(RuleBasedStateMachine):
    """Up to three drivers over one output, in any order of their calls."""

    @initialize(
        dialect=st.sampled_from(["conditional", "refusing", "ignoring"]), provable=st.booleans(), many=st.booleans()
    )
    def begin(self, dialect: Dialect, provable: bool, many: bool) -> None:
        self.context = simulation.world(dialect, is_death_provable=provable, makes_many=many)
        self.world = self.context.__enter__()
        self.source = list(FIRST)
        self.completed: tuple[int, dict[str, bytes]] | None = None

    @property
    def living(self) -> list[Driver]:
        return [driver for driver in self.world.drivers if driver.is_alive]

    @rule(command=st.sampled_from(["run", "run", "retry"]))
    @precondition(lambda self: len(self.living) < 3)
    def start(self, command: str) -> None:
        source = list(self.source)
        self.world.start(lambda driver: program(driver, source, command))

    @rule(which=st.integers(0, 2), calls=st.sampled_from([1, 2, 5, 15, 60, 400]))
    @precondition(lambda self: bool(self.living))
    def go_on(self, which: int, calls: int) -> None:
        driver = self.living[which % len(self.living)]
        for _ in range(calls):
            if not driver.is_alive:
                break
            self.step(driver)

    @rule(which=st.integers(0, 2), what=st.sampled_from(WRITES), again=st.integers(0, 2))
    @precondition(lambda self: bool(self.living))
    def go_on_until_it_writes(self, which: int, what: str, again: int) -> None:
        driver = self.living[which % len(self.living)]
        for _ in range(again + 1):
            self.step(driver)
            while driver.is_alive and not driver.will_write.startswith(what):
                self.step(driver)

    @rule(which=st.integers(0, 2))
    @precondition(lambda self: bool(self.living))
    def go_on_to_the_end(self, which: int) -> None:
        driver = self.living[which % len(self.living)]
        while driver.is_alive:
            self.step(driver)

    @rule(which=st.integers(0, 2))
    @precondition(lambda self: bool(self.living))
    def die(self, which: int) -> None:
        self.world.kill(self.living[which % len(self.living)])

    @rule()
    @precondition(lambda self: len(self.source) < 9)
    def add_input(self) -> None:
        self.source.append(f"new-{len(self.source)}")

    def step(self, driver: Driver) -> None:
        """One call; an attempt that others have followed and completed may change nothing any more."""
        self.world.step(driver)
        assert isinstance(driver.error, PixelmillError | simulation.Killed | None), repr(driver.error)
        if driver.claim is None or self.world.dialect != "conditional":
            return
        epoch = driver.claim.epoch
        if self.completed is not None and epoch < self.completed[0]:
            assert decided(self.world) == self.completed[1]
        elif driver.has_succeeded:
            self.completed = (epoch, decided(self.world))
        elif self.completed is not None:
            self.completed = None  # a later attempt is at work, which may

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            while self.living:  # the suspended wake up, the last one first
                self.step(self.living[-1])
            self.finish("run")
            if self.world.dialect != "conditional":
                self.finish("run")  # what landed late was found by the first one
            assert_complete(self.world, self.source)
            self.finish("retry")
            assert_complete(self.world, self.source)
            assert_complete_by_account(self.world)
        finally:
            self.context.__exit__(None, None, None)

    def finish(self, command: str) -> None:
        last = self.world.start(lambda driver: program(driver, self.source, command))
        while last.is_alive:
            self.world.step(last)
        assert last.error is None, repr(last.error)


def assert_complete_by_account(world: World) -> None:
    """Our own account agrees with the outsider's."""

    def look(driver: Driver) -> None:
        folder = driver.folder()
        found = account(folder, read_segments(folder))
        assert found.is_exact, found

    seen = world.start(look)
    while seen.is_alive:
        world.step(seen)
    assert seen.error is None, repr(seen.error)


# Suspended at each of its calls, one after another


def play(world: World, source: list[str], command: str, job: str = "job") -> Driver:
    """A driver from its beginning to its end."""
    driver = world.start(lambda driver: program(driver, source, command, job))
    wake(world, driver)
    return driver


def wake(world: World, driver: Driver) -> None:
    while driver.is_alive:
        world.step(driver)


STORIES = [("run", "run"), ("run", "retry"), ("retry", "run"), ("retry", "retry")]


def go_to_write(world: World, driver: Driver, number: int) -> None:
    """Let a driver go until it is about to write for the given time, counted from 0."""
    for _ in range(number + 1):
        world.step(driver)
        while driver.is_alive and not driver.will_write:
            world.step(driver)


def go_to_call(world: World, driver: Driver, number: int) -> None:
    for _ in range(number):
        world.step(driver)


def suspended(
    world: World, story: tuple[str, str], go: Callable[[World, Driver], None], *, dies: bool, grows: bool
) -> bool:
    """A driver stops after so many calls, others complete the run, and it wakes up or not.

    They see one input more (`grows`), or one less than the sleeper, which then may not add it to what they completed.
    Gives whether the sleeper had so many calls to do.
    """
    first, second = story
    source = list(FIRST)
    if first == "retry" or not grows:
        assert play(world, source, "run").error is None
    seen = source if grows else [*source, "gone"]
    sleeper = world.start(lambda driver: program(driver, list(seen), first))
    go(world, sleeper)
    if not sleeper.is_alive:
        return False
    if dies:
        world.kill(sleeper)
    source += ["new"] if grows else []
    last = [play(world, source, command) for command in ("run", second)][-1]
    assert last.error is None, repr(last.error)
    if input_id("gone", None) in {*ids(world, "data"), *ids(world, "failed")}:
        source.append("gone")  # it was listed before the sleeper fell asleep
    assert_complete(world, source)
    before = decided(world)
    wake(world, sleeper)
    assert isinstance(sleeper.error, PixelmillError | simulation.Killed | None), repr(sleeper.error)
    assert last.claim is not None
    if sleeper.claim is not None and sleeper.claim.epoch > last.claim.epoch:
        source = list(dict.fromkeys([*source, *(seen if first == "run" else ())]))  # it is the newest attempt
    elif world.dialect == "conditional":
        assert decided(world) == before
    else:
        assert play(world, source, "run").error is None
    assert_complete(world, source)
    return True


FATES = ((False, False, True), (False, False, False), (True, False, True), (True, True, True))


def try_all(
    dialect: Dialect, story: tuple[str, str], go: Callable[[World, Driver, int], None], least: int, *, many: bool
) -> None:
    for dies, provable, grows in FATES:
        moment, goes_on = 0, True
        while goes_on:
            with simulation.world(dialect, is_death_provable=provable, makes_many=many) as world:
                goes_on = suspended(world, story, partial(go, number=moment), dies=dies, grows=grows)
            moment += 1
        assert moment > least, "a driver has more to do than was tried"


one_or_many = pytest.mark.parametrize("many", [False, True], ids=["one row an input", "many rows an input"])


@one_or_many
@pytest.mark.parametrize("story", STORIES, ids=" then ".join)
def test_a_driver_that_stops_before_a_write_changes_nothing_that_later_ones_made(
    story: tuple[str, str], many: bool
) -> None:
    try_all("conditional", story, go_to_write, least=10, many=many)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@one_or_many
@pytest.mark.parametrize("story", STORIES, ids=" then ".join)
@pytest.mark.parametrize("dialect", ["conditional", "refusing", "ignoring"])
def test_a_driver_that_stops_at_any_of_its_calls_leaves_or_is_put_right(
    dialect: Dialect, story: tuple[str, str], many: bool
) -> None:
    try_all(dialect, story, go_to_call, least=45, many=many)


def test_of_two_jobs_that_start_together_one_is_refused() -> None:
    for calls in range(0, 60, 3):
        with simulation.world("conditional", is_death_provable=False) as world:
            other = world.start(lambda driver: program(driver, ["x"], "run", "another job"))
            for _ in range(calls):
                world.step(other)
            mine = play(world, list(FIRST), "run")
            wake(world, other)
            assert not (mine.has_succeeded and other.has_succeeded)
            # Both may have stopped: one refused, and the other one overtaken. Then the command of the owner completes it.
            owner = json.loads(world.read(IDENTITY) or b"{}")["job"]
            source = ["x"] if owner == "another job" else list(FIRST)
            assert not (mine if owner == "another job" else other).has_succeeded
            assert play(world, source, "run", owner).error is None
            assert_complete(world, source)


# In any order


EXAMPLES = int(os.environ.get("PIXELMILL_TEST_EXAMPLES", "15"))
Drivers.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    print_blob=True,
)
TestDrivers = pytest.mark.timeout(1800)(Drivers.TestCase)
