"""Latents of ligands that are being made, on disk, so that the end of the process costs next to nothing of them."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from ligandsmith.files import atomic_write


class KeptLatents:
    """The latents of all candidates of an unfinished batch or task, a file for each group of candidates.

    The next run makes the same ligands of them without sampling them again. Each user writes into a folder of its own
    below `folder` and reads those of all, so that two workers with the same task (one was taken for dead) never write
    the same file. All go when the ligands are listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.own = folder, folder / uuid4().hex

    def latents(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """Those of a group that was made before, else `compute()`, which is kept. Raises OSError for a full disk."""
        for path in self.folder.glob(f"*/{key}.npy"):
            with suppress(OSError, ValueError):  # gone meanwhile, or damaged
                return torch.from_numpy(np.load(path)).clone()
        computed = compute()
        with suppress(FileNotFoundError, FileExistsError):  # another worker has just finished the task and cleared it
            self.own.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.own / f"{key}.npy") as part, part.open("wb") as file:
                np.save(file, computed.cpu().numpy())
        return computed

    def clear(self) -> None:
        """Remove them."""
        shutil.rmtree(self.folder, ignore_errors=True)
