"""The calls of a DAG run as a page in Airflow."""
