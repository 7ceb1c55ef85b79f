"""The fault matrix: every fault of `rows`, on every column of `dags/columns.py`, on one real Airflow."""
