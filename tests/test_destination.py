"""Destinations on a disk: what appears, when, and what does not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from airflow_provider_retell.errors import RetellExportError, RetellExportOvertakenError
from airflow_provider_retell.files.destination import STAGING, Destination


def claimed(folder: Path, run: str = "run") -> Destination:
    """Return a destination that a run has taken."""
    destination = Destination(str(folder), token=run)
    destination.claim()
    return destination


def write(destination: Destination, name: str, content: bytes) -> None:
    """Write one whole file."""
    with destination.writing(name) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    """Return all names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def visible(folder: Path) -> dict[str, bytes]:
    """Return what a reader of the folder sees, who passes over names with an underscore as readers do."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_files_appear_when_they_are_published(tmp_path: Path) -> None:
    """Nothing is seen before; afterwards there is nothing but the files."""
    destination = claimed(tmp_path)
    write(destination, "calls-00000.jsonl", b"one")
    write(destination, "calls-00001.jsonl", b"two")
    assert visible(tmp_path) == {}
    paths = destination.publish()
    assert paths == [f"{tmp_path}/calls-00000.jsonl", f"{tmp_path}/calls-00001.jsonl"]
    assert visible(tmp_path) == {"calls-00000.jsonl": b"one", "calls-00001.jsonl": b"two"}
    assert not (tmp_path / STAGING).exists()


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """While files are replaced over and over, somebody who reads one never reads a part, and never none."""
    sizes, stop = set(), threading.Event()
    first = claimed(tmp_path)
    write(first, "calls-00000.jsonl", b"x" * 1_000_000)
    first.publish()

    def read() -> None:
        while not stop.is_set():
            sizes.add(len((tmp_path / "calls-00000.jsonl").read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        again = claimed(tmp_path, f"run{number}")
        write(again, "calls-00000.jsonl", b"y" * (1_000_000 + number % 2))
        again.publish()
    stop.set()
    reader.join()
    assert sizes <= {1_000_000, 1_000_001}


def test_what_is_not_an_exports_stays(tmp_path: Path) -> None:
    """Only files that an export names are replaced or removed."""
    for name in ("calls.jsonl", "calls-00000.jsonl.bak", "notes.txt", "calls-00007.parquet"):
        (tmp_path / name).write_bytes(b"before")
    destination = claimed(tmp_path)
    write(destination, "calls-00000.jsonl", b"now")
    destination.publish()
    assert set(visible(tmp_path)) == {"calls.jsonl", "calls-00000.jsonl.bak", "notes.txt", "calls-00000.jsonl"}


def test_the_run_that_began_later_has_the_destination(tmp_path: Path) -> None:
    """The earlier one may not put aside, nor publish; what it put aside is gone, and it takes nothing along."""
    earlier = claimed(tmp_path, "earlier")
    write(earlier, "calls-00000.jsonl", b"earlier")
    later = claimed(tmp_path, "later")
    for gives_way in (lambda: earlier.keep("calls-000001", b""), earlier.publish, lambda: earlier.kept("x")):
        with pytest.raises(RetellExportOvertakenError):
            gives_way()
    earlier.abandon()
    write(later, "calls-00000.jsonl", b"later")
    later.publish()
    assert visible(tmp_path) == {"calls-00000.jsonl": b"later"}


def test_a_run_that_was_overtaken_by_one_that_is_done_gives_way_too(tmp_path: Path) -> None:
    """Nobody claims the destination any more, and yet it is not the earlier run's."""
    earlier = claimed(tmp_path, "earlier")
    write(earlier, "calls-00000.jsonl", b"earlier")
    later = claimed(tmp_path, "later")
    write(later, "calls-00000.jsonl", b"later")
    later.publish()
    with pytest.raises(RetellExportOvertakenError):
        earlier.publish()
    assert visible(tmp_path) == {"calls-00000.jsonl": b"later"}


def test_a_file_that_fails_half_way_does_not_stand_for_the_whole(tmp_path: Path) -> None:
    """An error while a file is written removes what there is of it."""
    destination = claimed(tmp_path)
    with pytest.raises(RetellExportError, match="TypeError"), destination.writing("calls-00000.jsonl") as file:
        file.writelines([b"half", "the other half is no bytes"])  # type: ignore[list-item]
    destination.publish()
    assert visible(tmp_path) == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("name", ["calls-000000", "whole/calls-00000.jsonl"])
def test_a_full_disk_leaves_the_files_as_they_were(tmp_path: Path, name: str) -> None:
    """No space left: a clear, transient error; the files of the run before stay, and nothing is beside them."""
    before = claimed(tmp_path, "before")
    write(before, "calls-00000.jsonl", b"before")
    before.publish()
    destination = claimed(tmp_path, "full")
    full = tmp_path / STAGING / "full" / name
    full.parent.mkdir(exist_ok=True)
    full.symlink_to("/dev/full")
    content = b"x" * 1_000_000
    fill = write if name.startswith("whole") else Destination.keep
    with pytest.raises(RetellExportError, match="No space left on device"):
        fill(destination, Path(name).name, content)
    destination.abandon()
    assert visible(tmp_path) == {"calls-00000.jsonl": b"before"}
    assert names(tmp_path) == ["calls-00000.jsonl"]


def test_a_folder_that_nobody_may_write_is_an_error(tmp_path: Path) -> None:
    """It shows when the destination is claimed, with the reason."""
    (tmp_path / "calls").write_text("no folder")
    with pytest.raises(RetellExportError, match=r"calls cannot be written \((NotADirectory|FileExists)Error"):
        claimed(tmp_path / "calls")


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """What a run left that was killed is removed by the next."""
    killed = claimed(tmp_path, "killed")
    killed.keep("calls-000000", b"half")
    destination = claimed(tmp_path, "next")
    assert names(tmp_path / STAGING) == ["claim.json", "next"]
    destination.publish()
    assert names(tmp_path) == []
