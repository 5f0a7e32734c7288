"""The Ray that a run works on: one of its own or a cluster, its processes, and the claim that the run holds."""
