"""The parts that the DAGs of the benchmark share; it imports nothing, because each DAG would pay for it."""

CALLS = 30
NUMBERS = [f"+1201555{place:04}" for place in range(100, 100 + CALLS)]
INTERVAL = 2
"""Seconds between two polls."""
TALK_SECONDS = 20
OVER = ("ended", "error", "not_connected")
