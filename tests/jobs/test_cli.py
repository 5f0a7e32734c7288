"""What a user sees of the command: exit codes, what is printed where, Ctrl-C, one writer at a time, and no secret ever."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pixelmill.jobs import cli
from pixelmill.workers.errors import PixelmillError
from tests.jobs.conftest import Mixed
from tests.support import Home, Output, Run, assert_every_input_in_one_row, pictures, pixelmill

pytestmark = pytest.mark.timeout(1200)

MODEL = "torchvision:resnet18/random"
PLAIN_LINE = re.compile(
    r"(checking the job|starting Ray|listing|starting the workers|importing torch|loading the network)(: [\d,]+ inputs)?"
    r"(, \d+ (s|min \d+ s))?|(milling|accounting): [\d,]+ / [\d,]+.*"
)
IN_ORDER_S = 60.0
"""Ctrl-C takes effect within seconds; the rest is for a machine that others use too."""


# Exit codes and words


def test_version_and_schema_are_printed(user: Home) -> None:
    assert re.fullmatch(r"pixelmill \d+\.\d+\.\d+\S*\n", pixelmill(user, "--version").stdout)
    assert json.loads(pixelmill(user, "schema").stdout)["properties"]["stages"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "no-such.yaml"], "no-such.yaml: there is no such job file"),
        (["no-such-command"], "No such command"),
        (["embed", "in", "out", "--model", "torchvision:resnet19"], "did you mean resnet1"),
        (["embed", "in", "out", "--set", "run.actor=1"], "did you mean actors?"),
        (["embed", os.fsdecode(b"caf\xe9"), "out"], r"caf\xe9: has a byte that is no UTF-8"),
        (["embed", "in", os.fsdecode(b"caf\xe9"), "--dry-run"], r"caf\xe9: has a byte that is no UTF-8"),
        (["embed", "s3://me:ab5c0ffee@bucket/in", "out"], "carries credentials"),
        (["retry", "out"], "holds no run of pixelmill"),
        (["inspect", "out"], "holds no run of pixelmill"),
    ],
)
def test_what_can_not_be_run_ends_with_2_and_a_sentence(
    user: Home, tmp_path: Path, arguments: list[str], words: str
) -> None:
    ended = pixelmill(user, *arguments, cwd=tmp_path)
    assert ended.code == 2, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "ab5c0ffee" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed", "in", "out", "--set", "max_failed_fraction=1"], "did you mean run.max_failed_fraction?"),
        (["embed", "in", "out", "--set", "model=x"], "did you mean stages.0.model?"),
        (["embed", "in", "out", "--set", "profile=x"], "did you mean source.profile or out.profile?"),
        (["embed", "in", "out", "--set", "max_failed_fractoin=1"], "did you mean run.max_failed_fraction?"),
        (["embed", "in", "out", "--failures", "never"], "run.failures: should be 'exit-3' or 'ok', not 'never'"),
        (["embed", "in", "out", "--model", ""], "model : unknown"),
        (["embed", "", "out"], "source (line 2): is empty; name a folder or a URI"),
        (["embed", "in", ""], "out (line 3): is empty; name a folder or a URI"),
        (["embed", "in", "  "], "out (line 3): is empty; name a folder or a URI"),
        (["embed", "in", "out", "--set", "source=[]"], "source (line 2): is empty"),
        (["embed", "in", "out", "--set", "source=[in, '']"], "source.1 (line 2): is empty"),
        (["embed", "in", "out", "--set", 'source="a\\0b"'], "is no path or URI"),
        (["embed", "in", "out", "--set", 'source="\\ud800"'], "has a byte that is no UTF-8"),
        (["inspect", ""], "is no path or URI"),
        (["retry", " "], "is no path or URI"),
        (["train", "vae", "--data", "", "--out", "out"], "data.0: is empty"),
        (["train", "vae", "--data", "in", "--out", ""], "out: is empty"),
        (["train", "vae", "--data", "in", "--out", "out", "--set", "threads=2"], "did you mean run.threads?"),
        (["train", "vae", "--data", "inn", "--out", "out"], "inn"),
        (["train", "segnet-cmvid"], "there is no such recipe or recipe file (did you mean segnet-camvid"),
        (["recipes", "segnt"], "there is no such recipe (did you mean segnet"),
        (["eval", "vae", "--checkpoint", "vae-mnist", "--data", ""], "is no path or URI"),
        (["generate", "samples", "--checkpoint", "vae-mnist", "--out", ""], "is a folder, not a file"),
        (["generate", "samples", "--checkpoint", "no-such", "--out", "out/a.png"], "no-such: no such checkpoint"),
        (["demo", ""], "is no path or URI"),
    ],
)
def test_what_can_not_be_run_is_answered_with_what_was_meant_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PixelmillError) as raised:
        cli.app(arguments, standalone_mode=False)
    assert words in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_shows_the_plan_and_writes_nothing(mixed: Mixed) -> None:
    before = mixed.output.contents()
    shown = pixelmill(mixed.user, "run", mixed.job, "--dry-run")
    assert shown.code == 0, shown.stderr
    listed = f"{len(mixed.expected)} of {len(mixed.expected)} listed inputs are finished and will not be read again"
    for words in ("inputs (objects, parquet, tar)", "logical CPUs", "precision", listed):
        assert words in shown.stdout
    assert mixed.output.contents() == before


def test_weights_that_can_not_be_fetched_end_the_run_with_a_sentence(user: Home, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 2)
    nowhere = {"https_proxy": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path)}
    offline = Home(user.folder, user.environment | nowhere)
    command = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", "torchvision:resnet18"]
    ended = pixelmill(offline, *command)
    assert ended.code == 2, ended.stderr
    assert "resnet18/IMAGENET1K_V1: its weights could not be fetched from https://" in ended.stderr.splitlines()[-1]
    assert f"put the file into {tmp_path}/hub/checkpoints" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    other = pixelmill(user, *command[:-1], "torchvision:resnet18/random")
    assert other.code == 2
    assert "no row was made there yet, so the folder can be deleted" in other.stderr
    shown = pixelmill(user, "inspect", str(tmp_path / "out")).stdout
    for words in ("not complete", "2 missing", "no input is in two rows so far", "0 data files: no rows"):
        assert words in shown
    retried = pixelmill(user, "retry", str(tmp_path / "out"))
    assert retried.code == 1
    assert "2 of 2 inputs were never done, and a retry does only what failed (0 left)" in retried.stderr


def test_inspect_says_what_there_is(mixed: Mixed) -> None:
    report = json.loads(pixelmill(mixed.user, "inspect", mixed.out, "--json").stdout)
    good, listed = list(mixed.expected.values()).count("good"), len(mixed.expected)
    counts = {"inputs": listed, "done": good, "failed": listed - good, "missing": 0, "twice": 0, "unknown": 0}
    assert report["complete"]
    assert report["counts"] == counts
    assert {failure["error_type"] for failure in report["failures"]} == {"Empty", "NotFound"}
    assert re.fullmatch(r"fixed_size_list<\w+: float>\[512\]", report["schema"]["embedding"])
    text = pixelmill(mixed.user, "inspect", mixed.out).stdout
    for words in ("complete", "every input is in exactly one row", "fetch/NotFound, as s3://mixed/elsewhere/gone.jpg"):
        assert words in text


@pytest.mark.parametrize("arguments", [["zoo"], ["schema"], ["--help"]])
def test_words_that_nobody_reads_end_nothing(user: Home, arguments: list[str]) -> None:
    """A reader that is gone before the first word, as `| head` is after some; and no standard output at all."""
    reader, writer = os.pipe()
    os.close(reader)
    cut_off = pixelmill(user, *arguments, stdout=writer)
    os.close(writer)
    closed = pixelmill(user, *arguments, stdout=None, preexec_fn=lambda: os.close(1))
    assert (cut_off.code, cut_off.stderr) == (0, "")
    assert (closed.code, closed.stderr) == (0, "")


def test_a_run_ends_well_though_nobody_reads_it_and_its_names_are_reported_on_a_terminal_of_ascii(
    user: Home, tmp_path: Path
) -> None:
    pictures(tmp_path / "\u00e9t\u00e9", 3)
    (tmp_path / "\u00e9t\u00e9" / "bad.jpg").write_bytes(b"x")
    ascii_user = Home(user.folder, user.environment | {"PYTHONIOENCODING": "ascii"})
    command = ["embed", str(tmp_path / "\u00e9t\u00e9"), str(tmp_path / "out"), "--model", MODEL, "--failures", "ok"]
    reader, writer = os.pipe()
    os.close(reader)
    assert pixelmill(ascii_user, *command, stdout=writer, stderr=writer).code == 0
    os.close(writer)
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=4)
    shown = pixelmill(ascii_user, "inspect", str(tmp_path / "out"))
    assert shown.code == 0, shown.stderr
    assert r"\xe9t\xe9/bad.jpg" in shown.stdout
    again = pixelmill(ascii_user, *command[:-2])
    assert again.code == 3, again.stderr
    assert "1 failed of 4 inputs" in again.stdout
    assert "nothing was left to do" in again.stdout


@pytest.mark.parametrize("command", ["", "embed", "train"])
def test_h_is_help_everywhere(user: Home, command: str) -> None:
    short = pixelmill(user, *command.split(), "-h")
    assert short.code == 0
    assert short.stdout == pixelmill(user, *command.split(), "--help").stdout
    assert "Usage:" in short.stdout


def test_help_says_what_set_sets_for_each_command(user: Home) -> None:
    commands = ("embed", "train", "eval")
    shown = {command: " ".join(pixelmill(user, command, "-h").stdout.split()) for command in commands}
    assert "stages.0.batch" in shown["embed"]
    assert "epochs=20" in shown["train"]
    assert "card's recipe" in shown["eval"]
    assert not any("stages" in shown[command] for command in ("train", "eval"))


def test_every_argument_is_named_as_its_help_names_it() -> None:
    def arguments(command: Any, path: str) -> Iterator[tuple[str, str | None]]:
        yield from ((path, each.metavar) for each in command.params if each.param_type_name == "argument")
        for name, inner in getattr(command, "commands", {}).items():
            yield from arguments(inner, f"{path} {name}")

    named = list(arguments(typer.main.get_command(cli.app), "pixelmill"))
    assert {"pixelmill embed", "pixelmill ct index", "pixelmill jobs"} <= {path for path, _ in named}
    assert [each for each in named if not (each[1] or "").rstrip(".").isupper()] == []


def test_the_shell_completes_commands_and_recipes(user: Home) -> None:
    def completed(*words: str) -> list[str]:
        asked = {
            "_PIXELMILL_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        return pixelmill(Home(user.folder, user.environment | asked)).stdout.split()

    assert completed("pixelmill", "tr") == ["train"]
    assert completed("pixelmill", "train", "segn") == ["segnet", "segnet-camvid"]


# What is printed where


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines_and_the_summary_goes_to_stdout(mixed: Mixed) -> None:
    lines = mixed.run.stderr.splitlines()
    assert lines
    assert [line for line in lines if not PLAIN_LINE.fullmatch(line)] == []
    good = list(mixed.expected.values()).count("good")
    assert mixed.run.stdout.startswith(
        f"{good} done, {len(mixed.expected) - good} failed of {len(mixed.expected)} inputs"
    )
    assert "\x1b" not in mixed.run.stdout


def test_for_a_program_each_line_is_json_on_standard_error_and_in_the_log(user: Home, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 4)
    words = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--log-format", "json", "--log-level", "debug"]
    done = pixelmill(user, *words)
    assert done.code == 0, done.stderr
    shown = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(set(line) >= {"at", "level", "message"} for line in shown)
    assert shown[-1]["message"].startswith("accounting: 4 / 4")
    log = (tmp_path / "out/_run/attempts/0001/log.txt").read_text().splitlines()
    ours = [json.loads(line) for line in log if line.startswith('{"at": ')]
    assert {line["level"] for line in ours} >= {"debug", "info"}
    assert ours[-1]["message"] == "ended: attempt=1, ended=complete"


def test_an_error_is_json_too_and_a_level_that_there_is_not_is_named(user: Home, tmp_path: Path) -> None:
    mistyped = pixelmill(user, "embed", "no-such", "out", "--log-format=json", "--quiet", cwd=tmp_path)
    (line,) = mistyped.stderr.splitlines()
    assert mistyped.code == 2
    assert json.loads(line)["level"] == "error"
    assert "no-such: does not exist" in json.loads(line)["message"]
    loud = pixelmill(user, "embed", "no-such", "out", "--log-level", "loud", cwd=tmp_path)
    assert (loud.code, "there are debug, info, warning, error" in loud.stderr) == (2, True)


def test_what_ray_prints_is_in_the_log_of_the_run(mixed: Mixed) -> None:
    assert b"ray" in mixed.output.read("_run/attempts/0001/log.txt").lower()


def test_no_secret_is_in_any_file_of_the_output_any_log_or_any_word(mixed: Mixed) -> None:
    secret = mixed.user.environment["AWS_SECRET_ACCESS_KEY"]
    assert len(secret) > 20
    shown = [mixed.run.stdout, mixed.run.stderr, pixelmill(mixed.user, "inspect", mixed.out, "--json").stdout]
    assert not any(secret in text for text in shown)
    leaks = [name for name in mixed.output.files() if secret.encode() in mixed.output.read(name)]
    assert leaks == []
    assert b"${BUCKET}" in mixed.output.read("_run/spec.yaml")


class Typescript:
    """A terminal of its own, and what was written to it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # that is how the last writer's end is told
            while data := os.read(self._master, 65_536):
                self._written += data

    def close(self) -> str:
        os.close(self.slave)
        self._reader.join(10)
        os.close(self._master)
        return self._written.decode(errors="replace")


def test_ctrl_c_stops_in_order_a_second_writer_is_refused_and_a_terminal_shows_a_live_table(
    user: Home, tmp_path: Path
) -> None:
    out = Output(str(tmp_path / "out"))
    pictures(tmp_path / "in", 600)  # so many that one worker is still at work when the second run has seen a beat
    command = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", MODEL, "--set", "run.actors=1"]
    with Run(user, *command) as run:
        run.wait_until(lambda: out.parts() >= 2, "two parts were published")
        second = pixelmill(user, *command)
        assert second.code == 75, second.stderr
        assert f"is being written by process {run.pid}" in second.stderr
        assert run.process.poll() is None
        run.interrupt()
        at_s = time.monotonic()
        assert run.wait() == 130, run.stderr
        assert time.monotonic() - at_s < IN_ORDER_S
        assert "what was finished stays, and the same command resumes from there: pixelmill embed" in run.stderr
        assert "Traceback" not in run.stderr
        assert run.wait_until_gone() == []
    assert user.left_behind() == []
    assert "_SUCCESS" not in out.files()
    kept = out.published("_run/")

    terminal = Typescript()
    done = pixelmill(user, *command, stderr=terminal.slave)
    seen = terminal.close()
    assert done.code == 0, seen
    assert "\x1b[" in seen
    assert "600" in seen
    assert "starting Ray" in seen
    assert not re.search(r"ray|raylet|Traceback", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen))
    assert kept.items() <= out.contents().items()
    assert_every_input_in_one_row(out, inputs=600)


@pytest.mark.slow
@pytest.mark.parametrize("after", ["_run/attempts", "_run/manifest", "data"])
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_stage_stops_in_order(user: Home, tmp_path: Path, after: str, stop: signal.Signals) -> None:
    out = Output(str(tmp_path / "out"))
    pictures(tmp_path / "in", 260)
    command = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", MODEL]
    for _ in range(2):  # the second one goes on from the first, and is past its own start as soon as it says something
        with Run(user, *command) as run:
            run.wait_until(lambda run=run: run.stderr, "it said something")
            run.wait_until(lambda: any(name.startswith(after) for name in out.files()), f"{after} was there")
            run.process.send_signal(stop)
            assert run.wait() == 130, run.stderr
            assert "resumes from there" in run.stderr
            assert run.wait_until_gone() == []
    done = pixelmill(user, *command)
    assert done.code == 0, done.stderr
    assert_every_input_in_one_row(out, inputs=260)


def test_a_place_may_have_any_character_in_its_name(user: Home, tmp_path: Path) -> None:
    folder = tmp_path / "\U0001fa7b scans"
    refused = pixelmill(user, "train", "vae", "--data", str(folder), "--out", str(tmp_path / "out \U0001fa7b"))
    assert f"{folder}: does not exist" in refused.stderr
