"""`pixelmill cluster`, `duplicates`, `leaks`, `outliers`, `sample`, `project`: claimed like runs, stored in OUT/explore/NAME/."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from pixelmill.jobs.inspect import open_run
from pixelmill.jobs.session.holding import holding
from pixelmill.jobs.terminal.printable import printable
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.clusters import ClusterOptions, clusters_of
from pixelmill.pipelines.findings.duplicates import DuplicateOptions, ReadVectors, duplicates_of
from pixelmill.pipelines.findings.fingerprint_rows import base_of, statistics
from pixelmill.pipelines.findings.leaks import leaks_of
from pixelmill.pipelines.findings.outliers import outliers_of
from pixelmill.pipelines.findings.projection import Method, projected, require_umap
from pixelmill.pipelines.findings.row_vectors import key_columns, read_vectors, require_rows, vector_column
from pixelmill.pipelines.findings.samples import k_centre
from pixelmill.pipelines.findings.stored import Facts, Found, Made
from pixelmill.pipelines.outputs.claims import ClaimedFolder
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted


@dataclass(frozen=True)
class Exploration:
    """A question to a run, and where the answer goes."""

    out: str
    kind: str
    name: str
    options: dict[str, object]
    make: Callable[[Folder], Made]


@dataclass(frozen=True)
class Answer:
    """A stored answer: its facts, its place, and whether the run was complete."""

    facts: Facts
    place: str
    is_complete: bool

    def to_json(self) -> dict[str, object]:
        return {**self.facts, "place": self.place, "run_is_complete": self.is_complete}


def cluster(out: str, name: str, column: str | None, k: str, read: ReadVectors = read_vectors) -> Exploration:
    options = ClusterOptions(_cluster_count(k))
    return Exploration(
        out, "cluster", name, {"k": k, "column": column}, lambda run: clusters_of(read(run, column), options)
    )


def _cluster_count(k: str) -> int | None:
    if k != "auto" and not (k.isascii() and k.isdecimal() and int(k) > 0):
        raise JobError(f"--k {k!a}: give a number of clusters, or auto")
    return None if k == "auto" else int(k)


def project(out: str, name: str, column: str | None, method: str, read: ReadVectors = read_vectors) -> Exploration:
    if method not in ("pca", "umap"):
        raise JobError(f"--method {method}: there are pca, umap")
    if method == "umap":
        require_umap()
    chosen: Method = "pca" if method == "pca" else "umap"
    return Exploration(
        out,
        "project",
        name,
        {"method": method, "column": column},
        lambda run: projected(read(run, column), chosen),
    )


def duplicates(out: str, name: str, options: DuplicateOptions, read: ReadVectors = read_vectors) -> Exploration:
    return Exploration(out, "duplicates", name, _as_options(options), lambda run: duplicates_of(run, options, read))


def leaks(train: str, test: str, name: str, options: DuplicateOptions) -> Exploration:
    """Stored with the test set."""
    other = open_run(train)
    stated = {**_as_options(options), "train": scrub(other.uri)}
    return Exploration(test, "leaks", name, stated, lambda run: leaks_of(other, run, options))


def _as_options(options: DuplicateOptions) -> dict[str, object]:
    return {"threshold": options.threshold, "most_bits": options.most_bits, "column": options.column}


def outliers(out: str, name: str, column: str | None) -> Exploration:
    return Exploration(out, "outliers", name, {"column": column}, lambda run: _outliers(run, column))


def _outliers(run: Folder, column: str | None) -> Made:
    """By vectors and fingerprints; by fingerprints alone in a run without vectors."""
    from pixelmill.pipelines import explore

    require_rows(run)
    schema = explore.schema_of(run)
    base = base_of(schema)
    looks = None if base is None else statistics(run, base)
    if base is not None and column is None and not explore.vector_columns(run):
        return outliers_of(explore.table(run, key_columns(schema)), None, looks)
    vectors = read_vectors(run, vector_column(run, column))
    is_aligned = looks is not None and len(looks["brightness"]) == len(vectors)
    return outliers_of(vectors.keys, vectors.units_ND, looks if is_aligned else None)


def sample(out: str, name: str, column: str | None, count: int) -> Exploration:
    options: dict[str, object] = {"k_center": count, "column": column}
    return Exploration(out, "sample", name, options, lambda run: k_centre(read_vectors(run, column), count))


def answer(asked: Exploration, now: Callable[[], float], say: Callable[[str], None]) -> Answer:
    """Work it out and store it. Raises RunRefused while another process works on the same name, JobError before anything is
    written where the run can't answer."""
    run = open_run(asked.out)
    folder = stored.folder_for(run, asked.name)
    with explained(run.uri, "reading the run"):
        covers = stored.covers_of(run)
        if not covers["rows"]:
            require_rows(run)
        is_complete = run.exists(SUCCESS)
    if not is_complete:
        say(f"the run is not complete; of it this covers {counted(covers['rows'], 'finished row')}")
    made = _made(asked, run)
    if not folder.is_local:
        folder.check_writable()
    facts: Facts = {
        "kind": asked.kind,
        "options": asked.options,
        "summary": made.summary,
        "made_at": datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds"),
        "covers": covers,
    }
    with holding(folder, f"explore {asked.kind}", now, say) as held:
        held.require()
        stored.store(folder, ClaimedFolder(folder, held.claim).publish, made, facts)
    return Answer(facts, f"{folder.uri}/{stored.ROWS}", is_complete)


def _made(asked: Exploration, run: Folder) -> Made:
    with explained(run.uri, "reading the run"):
        return asked.make(run)


def found(run: Folder, name: str) -> Found | None:
    """A stored answer; see `stored.read`."""
    with explained(run.uri, "reading what was found out"):
        return stored.read(run, name)


# ------------------------------------------------------------------------------------------------------------ for a person


def lines_of(result: Answer) -> list[str]:
    """What a person reads after the work."""
    facts = result.facts
    lines = SAYS[facts["kind"]](facts["summary"])
    return [*(printable(scrub(line), one_line=True) for line in lines), f"the rows, by id: {result.place}"]


def _says_cluster(found: Mapping[str, object]) -> list[str]:
    silhouette = found.get("silhouette")
    chosen = "" if silhouette is None else f", chosen by a silhouette of {silhouette}"
    largest = cast("list[dict[str, object]]", found["largest"])
    shown = [
        f"  {each['cluster']}: {counted(cast('int', each['rows']), 'row')}, as {_first(each['examples'])}"
        for each in largest[:10]
    ]
    more = [f"  and {cast('int', found['clusters']) - 10:,} more"] if cast("int", found["clusters"]) > 10 else []
    return [f"{found['rows']:,} rows in {found['clusters']} clusters{chosen}", *shown, *more]


def _first(values: object) -> str:
    return ", ".join(cast("list[str]", values)[:1])


def _says_duplicates(found: Mapping[str, object]) -> list[str]:
    tiers = cast("dict[str, int]", found["by_tier"])
    by = ", ".join(f"{count:,} by {tier}" for tier, count in tiers.items() if count) or "none"
    in_groups = counted(cast("int", found["groups"]), "group")
    head = f"{found['duplicates']:,} of {found['rows']:,} rows repeat another one, in {in_groups}: {by}"
    groups = cast("list[list[str]]", found["largest"])
    return [head, *(f"  {group[0]} = {', '.join(group[1:4])}" for group in groups[:5])]


def _says_leaks(found: Mapping[str, object]) -> list[str]:
    head = f"{found['leaked']:,} of {found['rows']:,} test rows are among the {found['train_rows']:,} training rows"
    examples = cast("list[dict[str, object]]", found["examples"])
    return [head, *(f"  {each['uri']} = {each['train_uri']} ({each['tier']})" for each in examples[:10])]


def _says_outliers(found: Mapping[str, object]) -> list[str]:
    farthest = cast("list[dict[str, object]]", found.get("farthest", []))
    looks = cast("dict[str, int]", found.get("looks", {}))
    lines = (
        [f"{found['rows']:,} rows; the farthest from their neighbours:"] if farthest else [f"{found['rows']:,} rows"]
    )
    lines += [f"  {each['outlier_score']}: {each['uri']}" for each in farthest]
    return [*lines, ", ".join(f"{count:,} {name}" for name, count in looks.items())] if looks else lines


def _says_sample(found: Mapping[str, object]) -> list[str]:
    apart = found.get("apart")
    covered = "" if apart is None else f"; every other row is within a cosine distance of {cast('float', apart):.3f}"
    return [
        f"{found['rows']:,} rows that lie apart{covered}",
        *(f"  {uri}" for uri in cast("list[str]", found["first"])),
    ]


def _says_project(found: Mapping[str, object]) -> list[str]:
    shares = cast("list[float] | None", found.get("share_of_variance"))
    kept = "" if shares is None else f", which hold {sum(shares):.0%} of the variance"
    return [f"{found['rows']:,} rows with x and y by {found['method']}{kept}"]


SAYS: dict[str, Callable[[Mapping[str, object]], list[str]]] = {
    "cluster": _says_cluster,
    "duplicates": _says_duplicates,
    "leaks": _says_leaks,
    "outliers": _says_outliers,
    "sample": _says_sample,
    "project": _says_project,
}
