"""Rows of a table are read by one thread at a time, in the order in which they were asked for."""

from __future__ import annotations

import threading

from pixelmill.pipelines.inputs import table_rows


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
