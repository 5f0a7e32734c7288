"""Run work on a worker: fast settings of the device, memory, faults, and a watchdog for stalled processes."""
