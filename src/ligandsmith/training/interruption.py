"""Ctrl-C and SIGTERM as a request to stop at the next place from which a run can continue exactly."""

import signal
import threading
import time
from types import FrameType
from typing import Any

PATIENCE = 2.0  # s; launchers pass on a signal that the terminal has sent already, which is no second request


class StopRequest:
    """Context that notes SIGINT and SIGTERM in `name`; a later second signal raises KeyboardInterrupt at once.

    Signals are received by the main thread alone; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.name = ""
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.name:
            self.name, self._since = signal.Signals(number).name, time.monotonic()
        elif time.monotonic() - self._since > PATIENCE:
            raise KeyboardInterrupt("stopped at once; what was saved last is whole")


class Interrupted(Exception):
    """A stop was requested, and the run is at a place where it can be saved."""
