"""The floor that sees one run: argv, environment, clock, cluster addresses and reports."""
