"""Any row of a run at once, for people who look at it: filtered and sorted pages, single pictures, inputs."""
