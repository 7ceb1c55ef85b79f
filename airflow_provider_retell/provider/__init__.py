"""What Airflow asks of a provider, and what differs between its versions."""
