"""This process on its machine: who it is, its temporary folders, its signals."""
