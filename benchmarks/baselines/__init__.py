"""What a user would write by hand: one script for each way, all with one command line and one definition of speed."""
