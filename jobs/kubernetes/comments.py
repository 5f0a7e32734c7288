"""Why each part of a manifest is as it is, as comments above it."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import Any, cast

import yaml

from pixelmill.jobs.documents.parsing import line_number, mapping_pairs, sequence_items
from pixelmill.jobs.kubernetes.pods import Object

REASONS: dict[str, str] = {
    "ConfigMap/data": "The job file as it was given; credentials come from the environment of the pods.",
    "*/entrypoint": "One command of plain words: it goes through a shell. Failed inputs do not make a failed job.",
    "*/entrypointNumCpus": "The driver runs on a worker node, which has CPUs; the head has none to give.",
    "*/runtimeEnvYAML": "How long a stopped job may take to save what it has; Ray kills after 3 s otherwise.",
    "*/shutdownAfterJobFinishes": "No cluster outlives its job.",
    "*/ttlSecondsAfterFinished": "How long it stays to be looked at; needs shutdownAfterJobFinishes.",
    "Ray*/backoffLimit": "New clusters after the loss of one. The driver retries its work itself, and the two multiply.",
    "*/activeDeadlineSeconds": "KubeRay ends the job then; what was finished stays, and the next run resumes.",
    "*/preRunningDeadlineSeconds": "Fails where the cluster is not up by then (KubeRay 1.6 and newer).",
    "*/suspend": "Kueue admits the job, and then takes this away.",
    "*/rayVersion": "The Ray of the image; the operator derives its commands from it.",
    "*/authOptions": "Ray serves only callers with the token that the operator makes (KubeRay 1.5.1 and newer).",
    "*/enableInTreeAutoscaling": "Nodes come when work asks for them and go when it is done.",
    "*/headGroupSpec/rayStartParams": "The head schedules and computes nothing, so that work does not take it down.",
    "*/headGroupSpec/template/spec/affinity": "Never on a node that may be taken away: the whole cluster would go.",
    "*/workerGroupSpecs/*/minReplicas": "The bounds between which the autoscaler works.",
    "*/workerGroupSpecs/*/rayStartParams": "Bytes that Ray may give out; objects lie in shared memory of the pod.",
    "*/terminationGracePeriodSeconds": "Ray drains a node for up to 30 s, and a training saves for up to 60 s.",
    "*/envFrom": "Credentials of the stores, as variables.",
    "*/rayClusterSpec/*/serviceAccountName": "Credentials without keys: the cloud trusts this account.",
    "*/concurrencyPolicy": "The pod waits for the RayJob, so that no second one begins beside it.",
    "*/startingDeadlineSeconds": "How late a run may begin.",
    "*/podFailurePolicy": "A pod that was moved away is made again and waits on; a failed RayJob is not repeated.",
    "Role/rules": "No more than to apply, watch and delete this RayJob.",
}
"""By the kind of the object, or * for any, and the path below it."""


def explained(objects: Sequence[Object]) -> str:
    """The objects as YAML with the reason above each key that has one, where it stands first."""
    said: set[str] = set()
    return "---\n".join(_with_comments(each, said) for each in objects)


def plain(objects: Sequence[Object]) -> str:
    """The objects as YAML."""
    return "---\n".join(_dumped(each) for each in objects)


def _dumped(value: Object) -> str:
    return str(cast("Any", yaml).dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and repeats values where YAML would refer to the first."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return cast("Any", dumper).represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _with_comments(value: Object, said: set[str]) -> str:
    text = _dumped(value)
    lines = text.splitlines(keepends=True)
    comments: dict[int, str] = {}
    for path, line in _paths(yaml.compose(text, Loader=yaml.SafeLoader), str(value["kind"])):
        for pattern, reason in REASONS.items():
            if pattern not in said and fnmatch.fnmatchcase(path, pattern):
                said.add(pattern)
                comments[line] = f"{_indent(lines[line - 1])}# {reason}\n"
    return "".join(comments.get(number, "") + line for number, line in enumerate(lines, 1))


def _indent(line: str) -> str:
    """The spaces before a key; before the first key of a list's entry, those before its hyphen."""
    return line[: len(line) - len(line.lstrip())]


def _paths(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    """Every key's path and line."""
    if isinstance(node, yaml.MappingNode):
        for key, child in mapping_pairs(node):
            below = f"{path}/{key.value}"
            if (line := line_number(key)) is not None:
                yield below, line
            yield from _paths(child, below)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(sequence_items(node)):
            yield from _paths(child, f"{path}/{index}")
