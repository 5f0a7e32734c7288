"""One training recipe per file: what a batch is, the loss, the schedule, the metrics."""
