"""A stand-in for the Retell AI calls API, to develop and test against without a phone ringing.

>>> from airflow_provider_retell.simulator import ManualClock, Simulator
>>> simulator = Simulator(clock=ManualClock())

It is an httpx transport, and a server: `with simulator.serve() as url: ...` or
`python -m airflow_provider_retell.simulator`.
"""

from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.clock import Clock, ManualClock, RealClock
from airflow_provider_retell.simulator.faults import Fault
from airflow_provider_retell.simulator.request_log import RecordedRequest
from airflow_provider_retell.simulator.scenarios import SCENARIOS, Scenario
from airflow_provider_retell.simulator.simulator import Simulator

__all__ = [
    "SCENARIOS",
    "Clock",
    "Fault",
    "ManualClock",
    "RealClock",
    "RecordedRequest",
    "Scenario",
    "SimulatedCall",
    "Simulator",
]
