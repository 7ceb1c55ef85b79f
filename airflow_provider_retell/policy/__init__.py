"""Decide whom to call, when, and how often: plain values that a DAG author can read aloud and test in a second.

>>> from datetime import timedelta
>>> hours = CallingHours("09:00", "20:00", days="mon-fri", exceptions={"sat": ("10:00", "14:00")})
>>> again = Redial("no_answer", "busy", after=timedelta(hours=2), times=2)
>>> limit = AttemptLimit(3, per=timedelta(days=7))

They only decide: they use no clock, no file, no request and no Airflow. Values with the same meaning are equal,
and their ``repr`` is the code that makes them.
"""

from __future__ import annotations

from airflow_provider_retell.policy.attempts import Attempt, AttemptLimit
from airflow_provider_retell.policy.calling_hours import CallingHours
from airflow_provider_retell.policy.redial import Redial, next_redial

__all__ = ["Attempt", "AttemptLimit", "CallingHours", "Redial", "next_redial"]
