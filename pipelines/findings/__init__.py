"""What is found out about the rows of a run afterwards, as Parquet in OUT/explore/NAME/, and what a report shows of a run."""
