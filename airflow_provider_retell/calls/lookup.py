"""Look up the calls that earlier tries of a task have placed, by their ids and by their tag."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.call_rows import row_projection
from airflow_provider_retell.api.pages import PageWalk
from airflow_provider_retell.api.patience import LONGEST_RINGING, NOT_THERE_YET
from airflow_provider_retell.calls.intent import TAG, tag_of
from airflow_provider_retell.calls.steps import Missing, Seen
from airflow_provider_retell.calls.stopping import STOP_INTERVAL
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.calls.sending import RecordedSender

log = logging.getLogger(__name__)


@dataclass
class CallLookup:
    """Look up the calls of one task.

    Attributes:
        sender: Has the client, the record and the clock of the task.
    """

    sender: RecordedSender
    _looks_again: bool = field(default=False, init=False)

    def read(self, call_ids: Sequence[str], seen: Seen) -> Seen:
        """Read calls in addition to those seen; earlier ones that Retell no longer knows are left out.

        Args:
            call_ids: The ids, oldest first; the last one is waited for as long as Retell may not show it yet.
            seen: The calls seen so far.
        """
        sender = self.sender
        listed = seen if isinstance(seen, tuple) else ()
        record, (*before, newest) = sender.record(), call_ids
        earlier = [call for call in read_earlier(sender.client, before) if call is not None]
        while True:
            try:
                last = sender.client.send(sender.rows.one(endpoints.get_call(newest)))
                return tuple({call.call_id: call for call in (*listed, *earlier, last)}.values())
            except RetellNotFoundError as error:
                # A retry may come so soon that Retell does not show the call yet.
                if record is None or sender.clock.now() >= record.last_sent_at + NOT_THERE_YET:
                    return Missing.UNKNOWN
                log.info("Retell does not show the call of an earlier try yet; reading it again: %s", error)
            sender.gate.check_task()
            sender.clock.sleep(STOP_INTERVAL)

    def list_tagged(self, prefix: str, *, again: bool) -> Seen:
        """List the calls whose tag begins so.

        Args:
            prefix: The beginning of the tags.
            again: Whether they were listed before: then it pauses first.

        Raises:
            RetellCallError: Retell lists a call that cannot be read.
        """
        sender = self.sender
        if again:
            if not self._looks_again:
                log.info(
                    "A call of an earlier try may still ring, and Retell may not list it meanwhile: looking "
                    "for it every %.0f s, for up to %.0f s (metadata %s = %s...).",
                    STOP_INTERVAL,
                    LONGEST_RINGING,
                    TAG,
                    prefix,
                )
            self._looks_again = True
            sender.gate.check_task()
            sender.clock.sleep(STOP_INTERVAL)
        walk = PageWalk(sender.rows.page(endpoints.list_tagged_calls(TAG, prefix, op="sw")))
        found: list[CallRow] = []
        try:
            while walk.request is not None:
                found += walk.take(sender.client.send(walk.request))
        except (RetellInvalidRequestError, RetellNotFoundError, RetellPermissionError) as error:
            log.warning("The calls of this task cannot be listed: %s", error)
            return Missing.UNLISTABLE
        if walk.unreadable:
            raise RetellCallError(
                f"Not called: of the calls that Retell lists for this task, {walk.unreadable} cannot be read, and "
                f"one of them may be going on (metadata {TAG} = {prefix}...). The next try looks again."
            )
        # Checked again: adopting another task's call would be worse than finding none.
        return tuple(call for call in found if tag_of(call).startswith(prefix)) or Missing.UNLISTED


def read_earlier(client: RetellClient, call_ids: Iterable[str]) -> list[CallRow | None]:
    """Return earlier calls of a task, None for each that Retell no longer knows: it may have been deleted."""
    rows = row_projection()
    calls: list[CallRow | None] = []
    for call_id in call_ids:
        try:
            calls.append(client.send(rows.one(endpoints.get_call(call_id))))
        except RetellNotFoundError:
            calls.append(None)
    return calls
