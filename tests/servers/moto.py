"""An S3 server on loopback that honours conditional writes, which the gateway ignores: moto's, in memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.servers.gateway import Gateway


class Moto(Gateway):
    """Used like a `Gateway`; what it holds is gone when it stops, and it checks no signatures."""

    ready_path = "/moto-api/"

    def _format(self) -> None:
        pass

    def _serve_command(self) -> Sequence[str]:
        return [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(self.port)]
