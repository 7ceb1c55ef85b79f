"""Stand in for the Retell AI calls API, to develop and test without phones ringing.

>>> from airflow_provider_retell.simulator import ManualClock, Simulator
>>> simulator = Simulator(clock=ManualClock())

A simulator is an httpx transport. It can also serve on a socket: `with simulator.serve() as url: ...`, or
`python -m airflow_provider_retell.simulator`.

A server says what it is: `GET /` returns `{"simulator": "airflow-provider-retell", "version": ...}` without a key.
A client asks for that before it sends its key over plain HTTP to another machine.
"""

from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.clock import Clock, ManualClock, RealClock
from airflow_provider_retell.simulator.faults import Fault
from airflow_provider_retell.simulator.request_log import RecordedRequest
from airflow_provider_retell.simulator.responses import Request, Response
from airflow_provider_retell.simulator.scenarios import SCENARIOS, Scenario
from airflow_provider_retell.simulator.simulator import Simulator

__all__ = [
    "SCENARIOS",
    "Clock",
    "Fault",
    "ManualClock",
    "RealClock",
    "RecordedRequest",
    "Request",
    "Response",
    "Scenario",
    "SimulatedCall",
    "Simulator",
]
