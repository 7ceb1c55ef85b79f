"""Retell AI phone calls in Apache Airflow."""

__version__ = "0.1.0"
