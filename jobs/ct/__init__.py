"""CT at the command: index and ingest, sheets of series, the curve of labels, the demo."""
