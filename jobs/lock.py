"""One writer for an output folder: a small file says who writes, and beats while they do.

Publishing under fixed names keeps the output right even with two writers; the lock keeps them from doing all the work
twice. Stores without conditional writes can't make it airtight, and it does not have to be.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

import psutil

from pipelines.stores import Folder
from workers.errors import RunRefused

NAME = "_run/lock.json"
BEAT_S = 10.0
STALE_S = 45.0


class Lock:
    """`with Lock(folder):` RunRefused while another process that is alive holds it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)

    def __enter__(self) -> Lock:
        holder = json.loads(self._folder.read(NAME) or b"{}")
        if holder and not holder["released"] and _is_alive(holder):
            raise RunRefused(
                f"{self._folder.uri} is being written by process {holder['pid']} on {holder['host']}; "
                "wait for it, or stop it and run this again"
            )
        self._write(released=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(Exception):  # the run has said what went wrong; an unreleased lock goes stale by itself
            self._write(released=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(Exception):
                self._write(released=False)

    def _write(self, *, released: bool) -> None:
        holder = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "token": self._token,
            "beat": time.time(),
            "released": released,
        }
        self._folder.publish(NAME, json.dumps(holder).encode())


def _is_alive(holder: dict[str, Any]) -> bool:
    """A process of this host is alive when it runs; one of another host when it beat a short while ago."""
    if holder["host"] != socket.gethostname():
        return time.time() - holder["beat"] < STALE_S
    try:
        process = psutil.Process(holder["pid"])
        return process.create_time() == holder["started"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
