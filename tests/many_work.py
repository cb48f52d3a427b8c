"""What the workers of the tests do. Light to import: a worker is a fresh interpreter."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KilledAtFirst:
    """Kills its own process, like the system short of memory, the first `times` that it is given the unit `victim`."""

    folder: Path
    victim: int
    times: int

    def __call__(self, unit: int) -> None:
        with (self.folder / f"{unit}.tries").open("a") as file:
            file.write("x")
        if unit == self.victim and len((self.folder / f"{unit}.tries").read_text()) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == 5:
            raise ValueError("five\nis odd")

    def tries(self) -> dict[int, int]:
        """How often each unit was given to a worker."""
        return {int(path.stem): len(path.read_text()) for path in self.folder.glob("*.tries")}


class SlowToLoad:
    """Unpickling it takes long, like the import of a large library from a slow disk."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __setstate__(self, state: dict[str, float]) -> None:
        self.__dict__.update(state)
        time.sleep(self.seconds)

    def __call__(self, unit: int) -> None:
        del unit


def square_slowly(number: int) -> int:
    """The later, the quicker; fails on -1."""
    time.sleep(0.1 / (1 + number))
    return number**2


def wait_long(folder: str) -> None:
    """Say which process this is, and then work for longer than any test."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
