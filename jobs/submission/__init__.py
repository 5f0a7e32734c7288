"""Jobs on a cluster of Ray: what is sent, what is compared before it runs, and how it is followed."""
