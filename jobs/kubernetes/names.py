"""Names, labels and quantities as Kubernetes takes them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""A label of DNS, RFC 1123: of most objects."""
LETTER_FIRST = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""A label of DNS, RFC 1035: of services, and so of what becomes one, such as a RayJob."""
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_QUANTITY = re.compile(r"[+]?(\d+(\.\d*)?|\.\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?")

LONGEST_LABEL = 63
LONGEST_SUBDOMAIN = 253
LONGEST_CLUSTER = 53
LONGEST_RAY_JOB = 47
"""KubeRay adds six characters for the cluster, and ten for its services."""
LONGEST_RAY_CRON_JOB = 36
LONGEST_CRON_JOB = 52
"""Kubernetes adds eleven characters for each of its jobs."""


def label_fault(text: str, longest: int, *, letter_first: bool = False) -> str | None:
    """Why this can't be the name of an object; None if it can."""
    if len(text) > longest:
        return f"has {len(text)} characters, and at most {longest} are taken"
    if not (LETTER_FIRST if letter_first else LABEL).fullmatch(text):
        first = "begins with a letter" if letter_first else "begins with a letter or a digit"
        return (
            f"is refused: a name has lower-case letters, digits and hyphens, {first} and ends with a letter or a digit"
        )
    return None


def subdomain_fault(text: str, longest: int = LONGEST_SUBDOMAIN) -> str | None:
    """Why this can't be a name with dots in it, as most kinds of objects take; None if it can."""
    if len(text) > longest:
        return f"has {len(text)} characters, and at most {longest} are taken"
    faults = (label_fault(part, LONGEST_SUBDOMAIN) for part in text.split("."))
    return next((fault for fault in faults if fault), None)


def label_key_fault(key: str) -> str | None:
    """Why this can't be the key of a label; None if it can."""
    prefix, slash, name = key.rpartition("/")
    if slash and (subdomain_fault(prefix) or not prefix):
        return "has a prefix that is no domain"
    return None if name and label_value_fault(name) is None else "has a name that is no label"


def label_value_fault(value: str) -> str | None:
    """Why this can't be the value of a label; None if it can."""
    if len(value) > LONGEST_LABEL:
        return f"has {len(value)} characters, and at most {LONGEST_LABEL} are taken"
    if not _VALUE.fullmatch(value):
        return "is refused: a label has letters, digits, -, _ and dots, and begins and ends with a letter or a digit"
    return None


def is_quantity(text: str) -> bool:
    """Whether this is an amount of a resource, such as 500m, 8 or 32Gi."""
    return _QUANTITY.fullmatch(text) is not None


def checked_name(name: str) -> str:
    """The name. ValueError where no object of Kubernetes may have it."""
    if fault := label_fault(name, LONGEST_LABEL):
        raise ValueError(f"{name!r} {fault}")
    return name


def name_of_file(path: str) -> str:
    """A name for what a file describes: `Nightly embed.yaml` is nightly-embed. Empty where nothing of its name is left."""
    stem = PurePosixPath(path).stem.lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-0123456789")[:LONGEST_RAY_JOB].rstrip("-")
