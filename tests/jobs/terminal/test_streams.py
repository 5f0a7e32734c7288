"""Words that can't be written end nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys

from pixelmill.jobs.terminal.streams import lasting


def test_what_is_written_after_the_reader_is_gone_is_dropped() -> None:
    reader, writer = os.pipe()
    stream = lasting(writer, None, closes=True)
    stream.write("read")
    stream.flush()
    assert os.read(reader, 10) == b"read"
    os.close(reader)
    for _ in range(3):
        stream.write("x" * 100_000)
        stream.flush()
    stream.close()


def test_characters_that_a_terminal_lacks_are_escaped() -> None:
    reader, writer = os.pipe()
    with lasting(writer, io.TextIOWrapper(io.BytesIO(), encoding="ascii"), closes=True) as stream:
        stream.write("\u00e9t\u00e9 \udce9")
    assert os.read(reader, 100) == rb"\xe9t\xe9 \udce9"
    os.close(reader)


def test_each_line_is_seen_at_once_where_a_person_watches() -> None:
    reader, writer = os.pipe()
    with lasting(writer, None, closes=True) as stream:
        stream.write("a line\n")
        assert os.read(reader, 100) == b"a line\n"
    os.close(reader)


LOGS_TO_A_CLOSED_STREAM = """
import io, logging
from pixelmill.jobs.terminal import streams

streams.install()
closed = io.StringIO()
logging.getLogger("library").addHandler(logging.StreamHandler(closed))
closed.close()
logging.getLogger("library").warning("too late")
print("done")
"""


def test_what_a_library_logs_after_the_end_of_a_run_is_dropped_without_a_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", LOGS_TO_A_CLOSED_STREAM], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("done\n", "")
