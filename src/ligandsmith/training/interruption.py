"""Ctrl-C and SIGTERM as a request to stop at the next place from which a run can continue exactly."""

import signal
import time
from types import FrameType

PATIENCE = 2.0  # s; launchers pass on a signal that the terminal has sent already, which is no second request


class StopRequest:
    """Notes the first signal in `name`; a later second one raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.name = ""
        self._since = 0.0

    def note(self, number: int, _: FrameType | None) -> None:
        """Handler of the signals."""
        if not self.name:
            self.name, self._since = signal.Signals(number).name, time.monotonic()
        elif time.monotonic() - self._since > PATIENCE:
            raise KeyboardInterrupt("stopped at once; what was saved last is whole")


class Interrupted(Exception):
    """A stop was requested, and the run is at a place where it can be saved."""
