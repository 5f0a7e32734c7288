"""Write the pictures of a run as files or tar shards: names that the source had, resumable, nobody's files overwritten."""
