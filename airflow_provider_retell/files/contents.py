"""The rows of an export: the fields of each call, and their form. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_retell._masking import Masker
from airflow_provider_retell.files.scrubbing import scrub
from airflow_provider_retell.outcomes import outcome_of
from airflow_provider_retell.rows import TRANSCRIPT_FIELDS


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The fields of each call that are written, and their form.

    Attributes:
        include: Fields that list-calls leaves out.
        scrubbed: Whether Retell's scrubbed transcripts and recordings replace the others.
        mask_numbers: Whether only the last four digits of phone numbers are written.
        recordings: Whether recordings are saved as files.
    """

    include: tuple[str, ...] = ()
    scrubbed: bool = False
    mask_numbers: bool = False
    recordings: bool = False

    def row(self, call: Mapping[str, Any], recording: str | None) -> dict[str, Any]:
        """Return the row of a call.

        Args:
            call: The call as Retell sends it.
            recording: The name of the file with its recording, None without one.
        """
        fields = dict(scrub(call) if self.scrubbed else call)
        for name in TRANSCRIPT_FIELDS.difference(self.include).intersection(fields):
            del fields[name]
        fields["outcome"] = _outcome(call)
        if recording is not None:
            fields["recording_path"] = recording
        if not self.mask_numbers:
            return fields
        masked: dict[str, Any] = Masker.of(fields, guess=False).json(fields)
        return masked

    def link(self, call: Mapping[str, Any]) -> Any:
        """Return the link to the recording to save, None if there is none."""
        return call.get("scrubbed_recording_url" if self.scrubbed else "recording_url")


def _outcome(call: Mapping[str, Any]) -> str | None:
    status, reason = call.get("call_status"), call.get("disconnection_reason")
    known = outcome_of(status if isinstance(status, str) else None, reason if isinstance(reason, str) else None)
    return None if known is None else known.value
