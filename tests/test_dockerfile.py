"""The Dockerfile keeps the rules by which images are judged: pinned, small, and not run as root.

No daemon is needed: the file is parsed as Docker does, and the rules are those of hadolint that concern it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILE = ROOT / "Dockerfile"


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction with its words, comments left out and continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def stages(text: str) -> list[list[tuple[str, str]]]:
    """The instructions of each stage; those before the first are left out."""
    found: list[list[tuple[str, str]]] = []
    for name, words in instructions(text):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, words))
    return found


def faults(text: str) -> list[str]:
    """What a reviewer would refuse."""
    found: list[str] = []
    arguments = dict(words.partition("=")[::2] for name, words in instructions(text) if name == "ARG")
    for name, words in instructions(text):
        if name == "FROM":
            image = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], words.split(" ")[0])
            if not re.search(r":[\w.-]*\d+\.\d+\.\d+|@sha256:", image):
                found.append(f"{image} is not pinned")
        if name == "RUN":
            found += _of_run(words)
        if name == "ADD":
            found.append("ADD unpacks and downloads: COPY")
        if name == "ENV" and re.search("(?i)token|secret|password|key=", words):
            found.append(f"a secret in {words}")
    last = stages(text)[-1]
    users = [words for name, words in last if name == "USER"]
    if not users or re.match(r"(root|0)\b", users[-1]):
        found.append("runs as root")
    elif not users[-1][0].isdigit():
        found.append("a user by name: runAsNonRoot can't be checked")
    if any(name == "RUN" and "pip install" in words for name, words in last):
        found.append("the last stage installs with pip")
    return found


def _of_run(words: str) -> list[str]:
    found: list[str] = []
    for command in re.split(r"&&|;", words):
        install = re.search(r"apt-get install (.*)", command)
        if install:
            packages = [word for word in install[1].split() if not word.startswith("-")]
            found += [f"{package} has no version" for package in packages if "=" not in package]
            if "--no-install-recommends" not in command:
                found.append("apt-get installs what is recommended")
            if "/var/lib/apt/lists" not in words:
                found.append("the lists of apt-get stay")
        if "apt-get upgrade" in command or "sudo " in command or re.search(r"curl[^|]*\|", command):
            found.append(f"not to be repeated: {command.strip()}")
        if pip := re.search(r"pip install (.*)", command):
            loose = [
                word
                for word in re.findall(r'"([^"]+)"', pip[1])
                if "==" not in word and not word.startswith((".", "$"))
            ]
            found += [f"{word} has no version" for word in loose]
    return found


def test_the_dockerfile_has_no_fault() -> None:
    assert faults(FILE.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("python:3.11.14-slim-bookworm", "python:latest", "python:latest is not pinned"),
        ("USER 1000:1000\n", "", "runs as root"),
        ("USER 1000:1000", "USER root", "runs as root"),
        ("USER 1000:1000", "USER pixelmill", "a user by name"),
        ("wget=1.21.3-*", "wget", "wget has no version"),
        (" --no-install-recommends", "", "what is recommended"),
        ("rm -rf /var/lib/apt/lists/*", "true", "the lists of apt-get stay"),
        ('"torch==${TORCH}"', '"torch"', "torch has no version"),
        ("COPY pipelines ./pipelines", "ADD pipelines ./pipelines", "ADD unpacks"),
        ("RAY_USAGE_STATS_ENABLED=0", "HF_TOKEN=abc", "a secret in"),
    ],
)
def test_each_rule_breaks_when_it_is_broken(old: str, new: str, fault: str) -> None:
    text = FILE.read_text()
    assert old in text
    assert any(fault in each for each in faults(text.replace(old, new)))


def test_what_is_copied_is_what_the_wheel_needs_and_the_context_holds_it() -> None:
    copied = {
        word
        for name, words in instructions(FILE.read_text())
        if name == "COPY" and "--from" not in words
        for word in words.split()[:-1]
    }
    assert all((ROOT / word).exists() for word in copied)
    kept = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == kept
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.split("/")[0] for path in settings["tool"]["setuptools"]["package-dir"].values()}
    assert folders <= copied
    extras = re.search(r"ARG EXTRAS=(\S+)", FILE.read_text())
    assert extras is not None
    assert set(extras[1].split(",")) <= set(settings["project"]["optional-dependencies"])


def test_the_user_is_that_of_the_manifests_and_both_devices_have_an_index() -> None:
    from pixelmill.jobs.kubernetes.pods import USER

    assert f"USER {USER}:{USER}" in FILE.read_text()
    assert "cpu) index=https://download.pytorch.org/whl/cpu" in FILE.read_text()
    assert "cuda) index=https://download.pytorch.org/whl/${CUDA}" in FILE.read_text()
