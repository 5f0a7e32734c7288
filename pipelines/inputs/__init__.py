"""What can be listed and read: sources and their files, archives, lists, and the bytes behind an entry."""
