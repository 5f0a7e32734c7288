"""Stands in for an agent of Ray that would have nothing to do, for as long as its raylet lives; see `idle_agents.py`.

It is run as a file, without the package, which takes milliseconds.
"""

import os
import time

raylet = os.getppid()
while os.getppid() == raylet:
    time.sleep(1.0)
