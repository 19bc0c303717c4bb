"""Runs are driven in this very process; one that a worker took first is followed from the database."""

from __future__ import annotations

import contextvars
import threading
import time

from django.db import connections

from agents import driver
from agents.models import Message, Run
from agents.states import RunStatus
from agents.terminal.transcript import Transcript

LOOK_EVERY = 0.25  # seconds between two looks at a run that a worker has
TRY_EVERY = 5.0  # seconds until a run is tried for whose worker has died
PATIENCE = 3.0  # seconds without a word until it is said why
ELSEWHERE = "Another process has this, or it is tried again in a moment. Ctrl-C stops it."
WINDING_UP = 3.0  # seconds that a stopped agent gets, to record what it has done


class Drive:
    """One attempt at a run, in a thread of its own, so that Ctrl-C comes through."""

    def __init__(self, run: Run, transcript: Transcript) -> None:
        self.claimed = False
        self._run, self._transcript = run, transcript
        self._failure: BaseException | None = None
        self._done = threading.Event()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), name="nod-drive", daemon=True).start()

    def wait(self) -> bool:
        """To its end or its next pause. Returns whether the run was to be had."""
        self._done.wait()
        if self._failure:
            raise self._failure
        return self.claimed

    def wind_up(self) -> None:
        """The run was stopped: nothing more is shown."""
        self._transcript.hush()
        self._done.wait(WINDING_UP)

    def _work(self) -> None:
        try:
            self.claimed = driver.advance(str(self._run.pk), self._transcript.hear)
        except BaseException as error:
            self._failure = error
        finally:
            connections.close_all()
            self._done.set()


class Follower:
    """Shows what comes of a run, whoever drives it, until it ends or waits."""

    def __init__(self, run: Run, transcript: Transcript) -> None:
        self._run, self._transcript = run, transcript
        self._shown = self._last()  # number of the last message that is on the screen
        self._drive: Drive | None = None

    def follow(self) -> None:
        tried, since, told = 0.0, time.monotonic(), False
        while self._run.status in (RunStatus.QUEUED, RunStatus.RUNNING):
            if self._run.status == RunStatus.QUEUED or time.monotonic() - tried > TRY_EVERY:
                tried = time.monotonic()
                self._drive = Drive(self._run, self._transcript)
                if self._drive.wait():
                    self._shown = self._last()
                    self._run.refresh_from_db()
                    since = time.monotonic()
                    continue
            self._read()
            if not told and time.monotonic() - since > PATIENCE:
                self._transcript.note(ELSEWHERE)
                told = True
            if self._run.status == RunStatus.RUNNING:
                time.sleep(LOOK_EVERY)  # the database is asked, since it alone knows
        self._read()
        self._transcript.end()

    def stopped(self) -> None:
        self._transcript.hush()
        if self._drive:
            self._drive.wind_up()

    def _read(self) -> None:
        """What a worker has left since the last look."""
        self._run.refresh_from_db()
        rows = Message.objects.filter(session=self._run.session_id, seq__gt=self._shown, superseded=False)
        new = list(rows.order_by("seq"))
        for row in new:
            self._transcript.said({"role": row.role, "content": row.content})
            self._shown = row.seq
        if (
            not new and self._run.status == RunStatus.RUNNING
        ):  # else the draft may be of a row that has just come
            self._transcript.draft(self._run.draft)

    def _last(self) -> int:
        rows = Message.objects.filter(session=self._run.session_id).order_by("-seq")
        return rows.values_list("seq", flat=True).first() or 0
