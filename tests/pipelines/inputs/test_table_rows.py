"""Rows of a table are read by one thread at a time, in the order in which they were asked for."""

from __future__ import annotations

import io
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs import table_rows
from pixelmill.pipelines.inputs.requests import Input
from pixelmill.pipelines.inputs.table_rows import Tables
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.patient_file import _PatientFile
from tests.conftest import Reach
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway


def test_requests_for_rows_of_a_table_are_served_in_their_order_whoever_comes_first() -> None:
    turns = table_rows.Turns()
    tickets = [turns.ticket() for _ in range(20)]
    served = []

    def take(ticket: int) -> None:
        with turns.wait_for(ticket):
            served.append(ticket)

    threads = [threading.Thread(target=take, args=(ticket,)) for ticket in reversed(tickets)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert served == tickets


GROUPS, GROUP_ROWS = 12, 4


@pytest.mark.parametrize(("reads", "most"), [("in a row", 4), ("drawn", GROUPS)])
def test_rows_in_a_row_come_with_few_requests_and_drawn_ones_with_one_each(
    gateway: Gateway, reach: Reach, monkeypatch: pytest.MonkeyPatch, reads: str, most: int
) -> None:
    """1 MB a group, so that a request that reads on has eight of them; two more requests are for the footer."""
    pictures = [np.random.default_rng(row).bytes(250_000) for row in range(GROUPS * GROUP_ROWS)]
    file = io.BytesIO()
    pq.write_table(pa.table({"image": pictures}), file, row_group_size=GROUP_ROWS, compression="none")
    bucket = f"rows-{most}"
    gateway.make_bucket(bucket)
    gateway.put(bucket, "a.parquet", file.getvalue())
    rows = list(range(len(pictures)))
    if reads == "drawn":
        rows = [GROUP_ROWS * group + group % GROUP_ROWS for group in np.random.default_rng(0).permutation(GROUPS)]
    fetched, read = list[int](), _PatientFile.read

    def counted(file: _PatientFile, size: int = -1) -> bytes:
        data = read(file, size)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(_PatientFile, "read", counted)
    with FaultyProxy(gateway) as proxy:
        reach(proxy.env)
        tables = Tables(Access(), None)
        for row in rows:
            item = Input(0, f"s3://{bucket}/a.parquet", "parquet", int(row), None, None)
            assert bytes(tables.value(item) or b"") == pictures[row]  # type: ignore[arg-type]
        assert proxy.requests["GET", f"{bucket}/a.parquet"] <= 2 + most
    assert sum(fetched) < 1.1 * len(file.getvalue())
