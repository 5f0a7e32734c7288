"""The bulk graph: orders in, rows fetched, decoded and run through every stage, Parquet out."""
