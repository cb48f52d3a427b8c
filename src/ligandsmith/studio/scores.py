"""Scores of molecules while they are computed: the answers that `evaluate` has written so far, read and not touched."""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.evaluate import site_of
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.evaluation.sources import Source, load_samples
from ligandsmith.evaluation.tools.runner import answer_keys
from ligandsmith.evaluation.tools.toolbox import make_tools
from ligandsmith.studio.commands import EVALUATION_TOOLS, PROTOCOL
from ligandsmith.studio.projects import Project
from ligandsmith.studio.tables import LIGANDS_FILE, Version, version

MOST_MOLECULES = 2000  # of a job whose answers are looked up while it runs
ANSWERS_FOLDER = "answers"
Columns = Mapping[str, NDArray[np.float64]]


def partial_scores(project: Project, folder: Path, indices: NDArray[np.int64]) -> Columns:
    """Columns [M] of pb_valid, vina_score and vina_min, of the molecules that have them already."""
    files = [folder / ANSWERS_FOLDER / f"{tool}.jsonl" for tool in EVALUATION_TOOLS]
    if not 0 < len(indices) <= MOST_MOLECULES or not any(path.is_file() for path in files):
        return {}
    ligands, protein = folder / LIGANDS_FILE, project.protein_path
    source = Source(folder.name, ligands, protein, project.site_ligand)
    keys = _keys(source, tuple(version(path) for path in (ligands, protein, project.folder / "ligand.sdf")))
    answers = {tool: _answers(path, version(path)) for tool, path in zip(EVALUATION_TOOLS, files, strict=True)}
    return _columns(keys, answers, indices)


@lru_cache(maxsize=8)
def _keys(source: Source, _: tuple[Version | None, ...]) -> Mapping[str, Mapping[int, str]]:
    """By tool, the key of each molecule's answer by its index; empty where the site cannot be read."""
    try:
        samples = load_samples(source.ligands)
        site = site_of(source, samples)
    except LigandsmithError:
        return {}
    mols = [sample.mol for sample in samples]
    indices = [sample.index for sample in samples]
    found = {}
    for tool in make_tools(adapted(PROTOCOL, EVALUATION_TOOLS).tools, source.ligands.parent / ANSWERS_FOLDER):
        keys = zip(indices, answer_keys(tool, site, mols), strict=True)
        found[tool.name] = {index: key for index, key in keys if key is not None}
    return found


@lru_cache(maxsize=8)
def _answers(path: Path, _: Version | None) -> Mapping[str, Any]:
    """Answers by key. A last line that is being written is left out."""
    found: dict[str, Any] = {}
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                key, answer = json.loads(line)
                found[key] = answer
    return found


def _columns(
    keys: Mapping[str, Mapping[int, str]], answers: Mapping[str, Mapping[str, Any]], indices: NDArray[np.int64]
) -> Columns:  # fmt: skip
    columns = {name: np.full(len(indices), np.nan) for name in ("pb_valid", "vina_score", "vina_min")}
    for row, index in enumerate(indices.tolist()):
        checks, docked = (
            answers[tool].get(keys.get(tool, {}).get(index, ""), None) for tool in ("posebusters", "vina")
        )
        if isinstance(checks, dict) and checks:
            columns["pb_valid"][row] = float(all(value is True for value in checks.values()))
        for name in ("vina_score", "vina_min"):
            if isinstance(docked, dict) and isinstance(docked.get(name), float):
                columns[name][row] = docked[name]
    return {name: column for name, column in columns.items() if np.isfinite(column).any()}
