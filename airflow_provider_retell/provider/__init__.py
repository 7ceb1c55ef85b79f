"""Meet Airflow's requirements for a provider, and hide the differences between its versions."""
