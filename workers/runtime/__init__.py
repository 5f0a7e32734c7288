"""How a worker runs: fast settings of the device, memory, faults, and the end of a process that makes no progress."""
