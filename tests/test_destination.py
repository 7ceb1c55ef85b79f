"""Destinations on a disk, in memory and on S3: which files appear and which stay, whatever fails."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_retell.errors import RetellExportError, RetellExportOvertakenError, RetellInputError
from airflow_provider_retell.files.claim import UNFINISHED
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.manifest import MANIFEST, Manifest

pytest.importorskip("s3fs")
from failing_storage import Failures, Folder, KilledError
from fsspec.implementations.local import LocalFileSystem

HOLDS = "the calls of a day"


# -- storages -------------------------------------------------------------------------------------------------


class Store(Folder):
    """The folder of a destination."""

    def files(self) -> dict[str, bytes]:
        """Return all files except the manifest."""
        return {name: content for name, content in self.content().items() if name != MANIFEST}

    def manifest(self) -> Manifest:
        return Manifest.read(self.content()[MANIFEST])

    def leftovers(self) -> list[str]:
        self.outside.invalidate_cache()
        return [path for path in self.outside.find(self.folder) if UNFINISHED in path]


@pytest.fixture
def open_store(open_folder: Callable[..., Store]) -> Callable[..., Store]:
    """Return a function that opens a folder on a kind of storage."""

    def open_store(kind: str, folder: str = "calls") -> Store:
        return open_folder(Store, kind, folder)

    return open_store


@pytest.fixture(params=["disk", "memory", "s3"])
def store(request: pytest.FixtureRequest, open_store: Callable[..., Store]) -> Store:
    """A folder on each kind of storage."""
    return open_store(request.param)


# -- a run, in short -------------------------------------------------------------------------------------------


def claimed(store: Store | Path, run: str = "run", **given: Any) -> Destination:
    """Return a destination that a run has claimed."""
    url = store.url if isinstance(store, Store) else str(store)
    destination = Destination(url, token=run, holds=given.pop("holds", HOLDS))
    destination.claim(**given)
    return destination


def write(destination: Destination, name: str, content: bytes) -> None:
    """Write one file."""
    with destination.writing(name) as file:
        file.write(content)


def publish(store: Store, run: str = "run", **files: bytes) -> None:
    """Publish files, as a run does."""
    destination = claimed(store, run)
    for name, content in files.items():
        write(destination, name, content)
    destination.publish(files)
    destination.clean_up()


OLD = {"calls-00000.jsonl": b"old", "calls-00001.jsonl": b"old", "recordings/a.wav": b"old"}
NEW = {"calls-00000.jsonl": b"new", "recordings/a.wav": b"new", "recordings/b.wav": b"new"}
FOREIGN = {"notes.txt": b"mine", "recordings/mine.wav": b"mine", "calls-00007.jsonl": b"mine"}


def test_files_appear_when_they_are_published(store: Store) -> None:
    """Before, no file is there; afterwards, the files and the manifest that names them are."""
    destination = claimed(store)
    for name, content in NEW.items():
        write(destination, name, content)
    assert store.content() == {}
    destination.publish(NEW)
    destination.clean_up()
    assert store.files() == NEW
    assert store.manifest() == Manifest(holds=HOLDS, names=frozenset(NEW))
    assert store.leftovers() == []


def test_a_run_replaces_and_removes_only_what_runs_before_it_published(store: Store) -> None:
    """Other files stay, also in the folder of recordings and under names like those of an export."""
    publish(store, **OLD)
    for name, content in FOREIGN.items():
        store.put(name, content)
    publish(store, "later", **NEW)
    assert store.files() == NEW | FOREIGN


@pytest.mark.parametrize("name", ["calls-00000.jsonl", "recordings/a.wav"])
def test_a_file_of_another_program_is_not_replaced(store: Store, name: str) -> None:
    """If a file that is not in the manifest has one of the names, nothing is published."""
    publish(store, **{"calls-00001.jsonl": b"old"})
    store.put(name, b"mine")
    before = store.content()
    destination = claimed(store, "later")
    for new, content in NEW.items():
        write(destination, new, content)
    with pytest.raises(RetellInputError, match=rf"has {name}, which no run of this package has written"):
        destination.publish(NEW)
    assert store.content() == before
    with pytest.raises(RetellInputError, match="No file was touched"):
        claimed(store, "third", names=[name])


def test_a_folder_with_other_files_is_refused(store: Store) -> None:
    """The files of another interval or campaign are not replaced: the manifest says what they are."""
    publish(store, **OLD)
    with pytest.raises(RetellInputError, match=r"holds the calls of a day, and this task writes a campaign\."):
        claimed(store, "other", holds="a campaign")
    assert store.files() == OLD
    assert store.leftovers() == []


def test_other_calls_of_the_interval_are_replaced_with_a_warning(
    open_store: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    """Two tasks with the same path, each for an agent, replace each other's files: the log warns of it."""
    store = open_store("memory")
    for details in ("agent_id 'a'", "agent_id 'a'", "agent_id 'b'"):
        assert not caplog.messages
        destination = Destination(store.url, token=details, holds=HOLDS, details=details)
        destination.claim()
        write(destination, "calls-00000.jsonl", b"")
        destination.publish(["calls-00000.jsonl"])
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "(agent_id 'a'): this task replaces them (agent_id 'b')" in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "it is not a manifest of this package"),
        (b'{"version": 1, "holds": "the calls of a day"}', "it is not a manifest of this package"),
        (b'{"version": 2}', "it has version 2, newer than this package: upgrade it"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_an_error(
    open_store: Callable[..., Store], content: bytes, complaint: str
) -> None:
    """Without the manifest it is unknown which files may be replaced."""
    store = open_store("memory")
    store.put(MANIFEST, content)
    with pytest.raises(RetellInputError, match=complaint):
        claimed(store)


def test_files_can_be_published_one_after_the_other(store: Store) -> None:
    """A file that was published need not be written again, and stays as long as it is named."""
    destination = claimed(store)
    write(destination, "part-0", b"0")
    destination.publish(["part-0"])
    write(destination, "part-1", b"1")
    destination.publish(["part-0", "part-1"])
    assert store.files() == {"part-0": b"0", "part-1": b"1"}
    assert destination.published() == {"part-0", "part-1"}
    destination.publish(["part-1"])
    assert store.files() == {"part-1": b"1"}


def test_a_file_that_was_never_written_is_an_error(store: Store) -> None:
    """A file that is neither written nor published before cannot be published."""
    destination = claimed(store)
    with pytest.raises(RetellExportError, match=r"calls-00000\.jsonl of this run cannot be found any more"):
        destination.publish(["calls-00000.jsonl"])
    assert store.content() == {}


# -- one run at a time -----------------------------------------------------------------------------------------


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """While a file is replaced many times, a reader always finds it, and always all of it."""
    sizes, stop = set(), threading.Event()
    path = tmp_path / "calls-00000.jsonl"

    def replace(size: int) -> None:
        destination = claimed(tmp_path, f"run{size}")
        write(destination, path.name, b"x" * size)
        destination.publish([path.name])

    def read() -> None:
        while not stop.is_set():
            sizes.add(len(path.read_bytes()))

    replace(1_000_000)
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        replace(1_000_000 + number % 2)
    stop.set()
    reader.join()
    assert sizes <= {1_000_000, 1_000_001}


@pytest.mark.parametrize("tokens", [("earlier", "later"), ("run", "run")], ids=["another run", "a later try"])
def test_whichever_claims_last_has_the_destination(store: Store, tokens: tuple[str, str]) -> None:
    """The earlier run cannot put aside, publish or remove anything, neither then nor later."""
    earlier = claimed(store, tokens[0])
    write(earlier, "calls-00000.jsonl", b"earlier")
    earlier.keep("rows", b"earlier")
    later = claimed(store, tokens[1])

    def gives_way() -> None:
        for act in (lambda: earlier.keep("rows", b""), lambda: earlier.publish(["calls-00000.jsonl"])):
            with pytest.raises(RetellExportOvertakenError, match="started later"):
                act()
        with pytest.raises(RetellExportOvertakenError):
            earlier.kept("nothing")
        earlier.clean_up()

    gives_way()
    write(later, "calls-00000.jsonl", b"later")
    later.keep("rows", b"later")
    gives_way()
    assert later.kept("rows") == b"later"
    later.publish(["calls-00000.jsonl"])
    later.clean_up()
    gives_way()
    assert store.files() == {"calls-00000.jsonl": b"later"}


def test_what_a_killed_run_left_is_removed_by_the_next(store: Store) -> None:
    """Unfinished files take space and hold personal data."""
    claimed(store, "killed").keep("calls-000000", b"half")
    claimed(store, "next").clean_up()
    assert store.content() == {}
    assert store.leftovers() == []


def test_a_try_keeps_what_an_earlier_one_put_aside_or_begins_again(store: Store) -> None:
    """A try continues only if all that the earlier one put aside is there."""
    claimed(store).keep("page-0", b"0")
    again = Destination(store.url, token="run", holds=HOLDS)
    assert again.claim(keeping=["page-0"])
    assert again.kept("page-0") == b"0"
    third = Destination(store.url, token="run", holds=HOLDS)
    assert not third.claim(keeping=["page-0", "page-1"])
    with pytest.raises(RetellExportError):
        third.kept("page-0")


# -- what cannot be written ------------------------------------------------------------------------------------


def test_a_file_that_fails_half_way_does_not_pass_for_a_complete_one(store: Store) -> None:
    """After an error while a file is written, no part of it stays."""
    destination = claimed(store)
    with pytest.raises(RetellExportError, match="TypeError"), destination.writing("calls-00000.jsonl") as file:
        file.writelines([b"half", "the other half is no bytes"])  # type: ignore[list-item]
    with pytest.raises(RetellExportError, match="cannot be found any more"):
        destination.publish(["calls-00000.jsonl"])
    assert store.content() == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("name", ["calls-000000", "complete/calls-00000.jsonl"])
def test_a_full_disk_leaves_the_files_as_they_were(tmp_path: Path, name: str) -> None:
    """The error says that no space is left; the files of the run before stay, and no others are there."""
    before = claimed(tmp_path, "before")
    write(before, "calls-00000.jsonl", b"before")
    before.publish(["calls-00000.jsonl"])
    before.clean_up()
    destination = claimed(tmp_path, "full")
    full = tmp_path / UNFINISHED / "full" / name
    full.parent.mkdir(exist_ok=True)
    full.symlink_to("/dev/full")
    fill = write if name.startswith("complete") else Destination.keep
    with pytest.raises(
        RetellExportError, match=r"No space left on device\)\. No file of an earlier run was touched"
    ):
        fill(destination, Path(name).name, b"x" * 1_000_000)
    destination.clean_up()
    assert (tmp_path / "calls-00000.jsonl").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "calls-00000.jsonl"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Claiming the destination fails, with the reason."""
    (tmp_path / "calls").write_text("no folder")
    with pytest.raises(RetellExportError, match=r"calls cannot be written \((NotADirectory|FileExists)Error"):
        claimed(tmp_path / "calls")


# -- paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["disk", "memory", "s3"])
@pytest.mark.parametrize(
    "folder", ["a*", "a?", "[ab]", "a b", "a#b", "a%20b", "{a,b}", "a/", "a//", "ä+&=@:", "**"]
)
def test_each_character_of_a_path_is_taken_as_it_is(
    open_store: Callable[..., Store], kind: str, folder: str
) -> None:
    """Folders that match the path as a pattern keep their files, and the files are where the URL says."""
    others = [open_store(kind, name) for name in ("a", "ab", "ac", "abc", "a/b")]
    for other in others:
        other.put("calls-00000.jsonl", b"other")
    store = open_store(kind, folder.rstrip("/"))
    before = store.files()
    store.url += folder[len(folder.rstrip("/")) :]
    names = ["calls-00001.jsonl", "recordings/*.wav"]
    for token in ("first", "second"):
        publish(store, token, **dict.fromkeys(names, token.encode()))
    after = store.files()
    assert {name: after[name] for name in names} == dict.fromkeys(names, b"second")
    assert {name: after[name] for name in before} == before
    assert store.leftovers() == []
    assert all(other.files()["calls-00000.jsonl"] == b"other" for other in others)
    url = Destination(store.url, token="", holds=HOLDS).url("calls-00001.jsonl")
    assert url == store.url.rstrip("/") + "/calls-00001.jsonl"


@pytest.mark.parametrize("path", ["/tmp/a\n", "/tmp/a\tb", " /tmp/a", "/tmp/a "])  # noqa: S108 (not written)
def test_what_airflow_would_drop_from_a_path_is_refused(path: str) -> None:
    """Otherwise the files would be in another folder than the summary says."""
    with pytest.raises(RetellInputError, match="path must not have line breaks"):
        claimed(Path(path))


def test_a_relative_path_and_one_with_dots_are_folders_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They mean the same folders as in a shell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for path in ("one", "./two", "one/../three", "~/four"):
        publish(Store(path, path, LocalFileSystem(), Failures()), **OLD)
    for path in ("one", "two", "three", "home/four"):
        assert (tmp_path / path / "calls-00000.jsonl").read_bytes() == b"old"
        assert not (tmp_path / path / UNFINISHED).exists()


# -- whatever fails --------------------------------------------------------------------------------------------


def run(store: Store, token: str, *, again: bool) -> None:
    """Write and publish the new files as an export does: each recording is read once, by one of the tries."""
    destination = Destination(store.url, token=token, holds=HOLDS)
    keeping = ["rows", "names"] if again else None
    if not destination.claim(keeping=keeping, names=["calls-00000.jsonl"]):
        for name, content in NEW.items():
            if name.startswith("recordings"):
                write(destination, name, content)
        destination.keep("rows", NEW["calls-00000.jsonl"])
        destination.keep("names", json.dumps(sorted(NEW)).encode())
    write(destination, "calls-00000.jsonl", destination.kept("rows"))
    destination.publish(json.loads(destination.kept("names")))
    destination.clean_up()


STEP = {"disk": 1, "memory": 1, "s3": 17}
"""Every operation fails once; on S3, whose operations take long, only some, different ones per way to fail."""


@pytest.mark.parametrize(
    ("kind", "again"),
    [("disk", True), ("disk", False), ("memory", True), ("memory", False), ("s3", True)],
    ids=["disk-retry", "disk-rerun", "memory-retry", "memory-rerun", "s3-retry"],
)
@pytest.mark.parametrize("kill", [False, True], ids=["error", "kill"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whichever_operation_fails_the_next_try_makes_it_whole(
    open_store: Callable[..., Store], kind: str, kill: bool, after: bool, again: bool
) -> None:
    """Nothing is lost, and a retry, or a rerun without its knowledge, ends like an undisturbed run.

    For each n, the n-th operation of the storage fails, or the process dies with it.
    """
    at, reached = 1 + (3 * kill + 7 * after if kind == "s3" else 0), True
    while reached:
        store = open_store(kind, f"{at}")
        publish(store, "old", **OLD)
        for name, content in FOREIGN.items():
            store.put(name, content)
        store.failures.arm(at, kill=kill, after=after)
        try:
            run(store, "run", again=False)
            reached = store.failures.operations >= at
            store.failures.arm(None)
        except (KilledError, RetellExportError) as error:
            store.failures.arm(None)
            check_nothing_is_lost(store, error)
            run(store, "run" if again else "next", again=again)
        assert store.files() == NEW | FOREIGN
        assert store.manifest() == Manifest(holds=HOLDS, names=frozenset(NEW))
        at += STEP[kind]
    assert at > 40


def check_nothing_is_lost(store: Store, error: BaseException) -> None:
    """Assert what always holds: other files are untouched, and files that both runs have are there."""
    seen = store.files()
    assert {name: seen.pop(name) for name in FOREIGN} == FOREIGN
    assert all(seen[name] in {OLD[name], NEW[name]} for name in OLD.keys() & NEW.keys())
    assert all(content in {OLD.get(name), NEW.get(name)} for name, content in seen.items())
    assert seen.keys() <= store.manifest().names
    if "No file of an earlier run was touched" in str(error):
        assert seen == OLD
    if seen.keys() != NEW.keys() and seen != OLD:
        assert not store.manifest().complete
