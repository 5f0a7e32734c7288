"""Write the pictures of a run as files or tar shards, with the names of the source; resumable, never overwriting files."""
