"""As much of Airflow 3 as the example of docs/cluster.md uses: a decorated function is called at once."""
