"""Run every cell on one Airflow, and collect the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import httpx
import psutil
from airflow_api import AirflowError
from airflow_stack import AirflowStack

from airflow_provider_retell.simulator.server import serving
from fault_matrix.cells import Cell, Figures
from fault_matrix.columns import COLUMNS, SIBLINGS, Column
from fault_matrix.lines import Port, Switchboard
from fault_matrix.row import Goal, Row
from fault_matrix.stage import HERE, Airflow, MissedError, Stage, environment, wait_for

QUEUE: Final = 900.0
"""Seconds in which Airflow must have begun every run."""

LAST_LOOK: Final = 30.0
"""Seconds that hanging up may take after the run is over."""

Results = Mapping[str, Mapping[str, Figures]]


def measure(rows: Sequence[Row], folder: Path) -> Results:
    """Run every cell, and return its figures by row and column."""
    switchboard = Switchboard()
    with ExitStack() as stack:
        cells = {row.name: [_cell(row, column, switchboard, stack) for column in row.columns] for row in rows}
        every = [cell for row in rows for cell in cells[row.name]]
        url = stack.enter_context(serving(switchboard.handle, 0))
        home = folder / "airflow"
        connections = dict(pair for cell in every for pair in cell.connections(url))
        env = environment(connections, folder, home)
        airflow = stack.enter_context(Airflow(HERE / "dags", home=home, env=env))
        airflow.wait_for_dags(SIBLINGS * len(COLUMNS))
        stage = Stage(airflow, folder)
        # All of them before the first begins, those who wait longest in front.
        apart = [(row, cell) for row in reversed(rows) if row.together is None for cell in cells[row.name]]
        for _, cell in apart:
            cell.queue(stage)
        stage.order("PATCH", "/api/v2/dags", params={"dag_id_pattern": "%"}, json={"is_paused": False})
        stack.enter_context(stage.watched())
        played: list[tuple[Row, Cell, Figures]] = []
        if apart:
            with ThreadPoolExecutor(len(apart)) as pool:
                played += pool.map(lambda it: (*it, _play(*it)), apart)
        for row in rows:
            if row.together is not None:
                played += _play_together(row, row.together, cells[row.name], stage)
    results: dict[str, dict[str, Figures]] = {row.name: {} for row in rows}
    for row, cell, figures in played:
        results[row.name][cell.column.dag] = figures
    return results


def _cell(row: Row, column: Column, switchboard: Switchboard, stack: ExitStack) -> Cell:
    names = [f"{row.name}_{column.dag}_{i}" for i in range(row.calls)]
    cell = Cell(
        row=row.name,
        column=column,
        lines=[switchboard.line(name, ring_seconds=row.ring_seconds, scenario=row.scenario) for name in names],
        suffix=row.suffix,
        port=Port(switchboard) if row.refuses else None,
        timeout=row.timeout,
        held_at=row.held_at,
    )
    if cell.port:
        stack.callback(cell.port.close)
    cell.line.simulator.fail(*row.faults(column))
    return cell


def _play(row: Row, cell: Cell) -> Figures:
    def play() -> None:
        cell.wait_until_begun(QUEUE)
        row.play(cell)
        _end(row, cell)

    return _figures(cell, _missed(play))


def _play_together(
    row: Row, happens: Callable[[AirflowStack], None], cells: Sequence[Cell], stage: Stage
) -> list[tuple[Row, Cell, Figures]]:
    for cell in cells:
        cell.queue(stage)
    notes = [_missed(cell.wait_until_waiting) for cell in cells]
    happens(stage.airflow)
    for cell in cells:
        cell.line.mark()
    with ThreadPoolExecutor(len(cells)) as pool:
        ends = pool.map(lambda cell: _missed(lambda: _end(row, cell)), cells)
    return [(row, cell, _figures(cell, note or end)) for cell, note, end in zip(cells, notes, ends, strict=True)]


def _missed(step: Callable[[], None]) -> str:
    """Return what did not happen in time, if anything: one run's trouble is no other's."""
    try:
        step()
    except (MissedError, AirflowError, httpx.TransportError, psutil.Error) as error:
        return str(error)
    return ""


def _figures(cell: Cell, note: str) -> Figures:
    figures = cell.figures(note)
    if note:
        cell.abandon()
    return figures


def _end(row: Row, cell: Cell) -> None:
    if row.goal is not Goal.STOPPED:
        cell.let_it_end()
        return
    wait_for(lambda: cell.is_over, "it hangs")
    with suppress(MissedError):  # the figures say it
        wait_for(lambda: not cell.is_live, "the call goes on", LAST_LOOK)
