"""An interrupt waits for the end of an import and of what logging does, and for nothing else."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pixelmill.jobs.host import signals

HIT = "import os, signal\nos.kill(os.getpid(), signal.{signal})\nfor _ in range(1000): pass\n"


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of this process, as they were."""
    several = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before, hook = [signal.getsignal(each) for each in several], sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    sys.unraisablehook = hook
    signal.setitimer(signal.ITIMER_REAL, 0)
    for each, handler in zip(several, before, strict=True):
        signal.signal(each, handler)


def wait_after(act: Callable[[], object]) -> None:
    act()
    time.sleep(30)


@pytest.mark.parametrize("hit", ["SIGINT", "SIGTERM"])
def test_a_module_is_imported_to_its_end_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hit: str) -> None:
    name = f"hit_by_{hit.lower()}"
    (tmp_path / f"{name}.py").write_text(HIT.format(signal=hit) + "end = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    signals.install()
    with pytest.raises(KeyboardInterrupt):
        wait_after(lambda: importlib.import_module(name))
    assert sys.modules.pop(name).end


def test_an_import_that_does_not_end_is_interrupted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text(HIT.format(signal="SIGINT") + "import time\ntime.sleep(30)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(signals, "MOST_POSTPONED", 3)
    signals.install()
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("endless")
    assert "endless" not in sys.modules


def test_what_is_logged_is_logged_to_its_end_first() -> None:
    class Hit(logging.Handler):
        end = False

        def emit(self, record: logging.LogRecord) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass
            self.end = True

    logger, handler = logging.Logger("hit"), Hit()
    logger.addHandler(handler)
    signals.install()
    with pytest.raises(KeyboardInterrupt):
        wait_after(lambda: logger.warning("a line"))
    assert handler.end


@pytest.mark.parametrize("hit", [signal.SIGINT, signal.SIGTERM])
def test_elsewhere_the_interrupt_comes_at_once(hit: signal.Signals) -> None:
    signals.install()
    with pytest.raises(KeyboardInterrupt):
        wait_after(lambda: os.kill(os.getpid(), hit))


def test_an_interrupt_in_a_finalizer_which_python_ignores_comes_again() -> None:
    class Hit:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass

    signals.install()
    with pytest.raises(KeyboardInterrupt):
        wait_after(Hit)


def test_a_command_in_the_background_of_a_script_ignores_ctrl_c_and_can_be_ended() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.install()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        wait_after(lambda: os.kill(os.getpid(), signal.SIGTERM))
