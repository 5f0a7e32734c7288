"""What must be the same for a run or a training to be resumed: its data and its results, not its speed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NotRequired, TypedDict, cast

from pixelmill.jobs.places import absolute
from pixelmill.pipelines.inputs.names import is_local, place_of
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.identity import require_same
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.protocol import TESTED, Protocol
from pixelmill.workers.errors import RunRefused


class SourceIdentity(TypedDict):
    """What a run reads: `uri` as the user wrote it, `uri_sha256` of the places that it names."""

    uri: list[str]
    uri_sha256: str
    format: str
    pattern: str | None
    column: str | None
    max_pixels: int
    max_bytes: int
    decoder: NotRequired[str]
    group: NotRequired[str]
    volumes: NotRequired[dict[str, object]]
    """These and the decoder only where a job names them: outputs of earlier versions have none of them."""
    decode: NotRequired[str]
    """Left out where every picture is decoded at its own size, as earlier versions did."""


class RunIdentity(TypedDict):
    """The content of a bulk run's `_run/identity.json`."""

    version: int
    source: SourceIdentity
    stages: list[dict[str, object]]


class TrainingIdentity(TypedDict):
    """The content of a training's `_run/training.json`."""

    recipe: str
    settings: dict[str, object]
    data: list[str]
    validation: list[str]
    hold_out: float
    test: NotRequired[list[str] | float]
    init_from: NotRequired[str]
    protocol: NotRequired[Protocol]
    """This, the test and init_from only where there is one: trainings of earlier versions have none of them."""


def digest(uris: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(uris)).encode()).hexdigest()[:16]


def spelled_before(stored: RunIdentity, now: Sequence[str]) -> tuple[str, ...] | None:
    """The source as the run with the identity `stored` spelled it, if it is the same place as `now`; None otherwise.

    Ids follow from uris as they were listed, so a run is resumed under its first spelling. A link and its target are
    one place. Older runs stored the text of the user, with trailing slashes and file://.
    """
    wanted, places = stored["source"].get("uri_sha256"), [place_of(uri) for uri in now]
    written = [str(uri) for uri in stored["source"].get("uri", [])]
    candidates = [list(now), places, [uri if "://" in uri else os.path.abspath(uri) for uri in written]]
    candidates += [[before(uri) for uri in now] for before in _SPELLINGS]
    for candidate in candidates:
        if digest(candidate) == wanted and [place_of(uri) for uri in candidate] == places:
            return tuple(uri if is_local(uri) and "://" not in uri else absolute(uri) for uri in candidate)
    return None


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda uri: f"{uri}/",
    lambda uri: f"file://{uri}",
    lambda uri: f"file://{uri}/",
    lambda uri: f"s3a{uri.removeprefix('s3')}",
    lambda uri: f"s3a{uri.removeprefix('s3')}/",
)


def resumed_source(out: Folder, stored: bytes, here: RunIdentity, source: Source, *, retry: bool) -> Source:
    """The source in the spelling of the run that is resumed: another spelling would make other ids. Raises RunRefused,
    naming the differences, where `stored` is the identity of another job. A retry may accept larger inputs than the run
    did, but must make the same results from them.
    """
    there = cast("RunIdentity", json.loads(stored))
    here = _as_known_then(there, here)
    if (uris := spelled_before(there, source.uris)) is not None:
        source = replace(source, uris=uris)
        places = {"uri": there["source"]["uri"], "uri_sha256": there["source"]["uri_sha256"]}
        here = cast("RunIdentity", {**here, "source": {**here["source"], **places}})
    if "decode" not in there["source"]:
        source = replace(source, decodes_whole=True)
        here = cast("RunIdentity", {**here, "source": {k: v for k, v in here["source"].items() if k != "decode"}})
    if retry:
        require_same(_results(there), _results(here), out)
    else:
        require_same({**there}, {**here}, out)
    return source


def _results(identity: RunIdentity) -> dict[str, object]:
    """What decides the results of an input, whichever inputs there are."""
    return {"stages": identity["stages"], "source": {"decode": identity["source"].get("decode", "full")}}


ADDED_KEYS = frozenset({"classes", "colours"})
"""Keys of a stage that earlier versions did not record: an output without them is resumed as it is."""


def _as_known_then(there: RunIdentity, here: RunIdentity) -> RunIdentity:
    """The identity without what the version that made an output did not record of its stages."""
    if len(there["stages"]) != len(here["stages"]):
        return here
    stages = [_without_added(before, now) for before, now in zip(there["stages"], here["stages"], strict=True)]
    return {**here, "stages": stages}


def _without_added(there: dict[str, object], here: dict[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for kind, options in here.items():
        before, now = cast("dict[str, object]", there.get(kind, {})), cast("dict[str, object]", options)
        kept[kind] = {key: value for key, value in now.items() if key in before or key not in ADDED_KEYS}
    return kept


Completed = Callable[[Mapping[str, object]], Mapping[str, object]]


def require_same_training(
    stored: bytes, here: TrainingIdentity, out: Folder, completed: Completed, may_change: Collection[str]
) -> frozenset[str]:
    """The settings of `may_change` that differ from those of the training that is stored.

    Raises RunRefused, naming the differences and why they can't be resumed with, where `stored` is another training.
    `completed` gives stored settings the defaults of those that did not exist when they were written.
    """
    there = cast("TrainingIdentity", json.loads(stored))
    there = cast("TrainingIdentity", {**there, "settings": completed(there.get("settings", {}))})
    flat_there, flat_here = _flat(_by_place(there)), _flat(_by_place(here))
    differ = [key for key in sorted(flat_there | flat_here) if flat_there.get(key) != flat_here.get(key)]
    changed = frozenset(key.removeprefix("settings.") for key in differ) & frozenset(may_change)
    if others := [key for key in differ if key.removeprefix("settings.") not in changed]:
        several = "; ".join(f"{key}: {flat_there.get(key)} there, {flat_here.get(key)} here" for key in others[:6])
        raise RunRefused(
            f"{out.uri}: holds another training, which this one can't resume: {several}; of its settings only "
            f"{', '.join(may_change)} may change; choose another out, and init_from={out.uri} to begin with its weights"
        )
    return changed


def protocol_of(stored: bytes | None) -> Protocol:
    """How the training with this identity splits its data; a new one keeps a test part apart."""
    return TESTED if stored is None else json.loads(stored).get("protocol", 1)


def _by_place(identity: TrainingIdentity) -> dict[str, object]:
    """Two spellings of one place are the same data."""
    data, validation, test = identity.get("data", []), identity.get("validation", []), identity.get("test", 0.0)
    places = {"data": data, "validation": validation} | ({"test": test} if isinstance(test, list) else {})
    is_place = "/" in identity.get("init_from", "")  # and no name of weights that ship or are published
    initial = {"init_from": place_of(identity.get("init_from", ""))} if is_place else {}
    return {**identity, **initial, **{key: [place_of(uri) for uri in uris] for key, uris in places.items()}}


def _flat(identity: Mapping[str, object]) -> dict[str, object]:
    settings = cast("dict[str, object]", identity.get("settings", {}))
    return {key: value for key, value in identity.items() if key != "settings"} | {
        f"settings.{key}": value for key, value in settings.items()
    }
