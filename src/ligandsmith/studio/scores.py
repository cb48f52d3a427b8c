"""Scores of molecules while they are computed: the answers that the tools have written so far."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ligandsmith.studio.jobs import Job
from ligandsmith.studio.projects import Project


def partial_scores(
    project: Project, job: Job, folder: Path, indices: NDArray[np.int64]
) -> Mapping[str, NDArray[np.float64]]:
    """Columns [M] of pb_valid, vina_score and vina_min for the molecules that have them already."""
    del project, job, folder, indices
    return {}
