"""Results in a project that no job of this studio made: of a command that was typed, or of a copied project."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ligandsmith.evaluation.molecule_table import TABLE_FILE
from ligandsmith.files import earlier_record, write_json
from ligandsmith.studio.commands import TASKS, evaluation
from ligandsmith.studio.jobs import DONE, INTERRUPTED, SCORING, Job, JobStep, JobStore
from ligandsmith.studio.molecules import read_notes
from ligandsmith.studio.projects import NOTES_FILE, NoSuchThing, Project
from ligandsmith.studio.tables import HISTORY_FILE, LIGANDS_FILE, SAMPLES_FILE

JOB_FOLDER = re.compile(r"(\d{1,9})-([a-z]+)")
NOT_SCORED = "not made by a job of this studio; continue it to score its molecules"


def add_found(project: Project, store: JobStore) -> None:
    """Add a job for each folder below `jobs` that has ligands and no job. A number in its name is kept where it is
    free; where it is not, stars and notes follow the new one."""
    if not project.protein:
        return
    known = {job.name for job in store.all(project.id)}
    renamed: dict[str, int] = {}
    for path in sorted((project.folder / "jobs").glob(f"*/{LIGANDS_FILE}")):
        folder = path.parent
        if folder.name in known or not _is_a_run(folder):
            continue
        numbered = JOB_FOLDER.fullmatch(folder.name)
        wanted = int(numbered[1]) if numbered else 0
        number = wanted if wanted and _is_free(store, wanted) else store.next_number()
        store.add(_job(project, folder, number, numbered[2] if numbered else ""))
        if wanted and number != wanted:
            renamed[str(wanted)] = number
    if renamed:
        _rename_notes(project, renamed)


def _is_a_run(folder: Path) -> bool:
    return (folder / SAMPLES_FILE).is_file() or folder.name.endswith("-import")


def _is_free(store: JobStore, number: int) -> bool:
    try:
        store.get(number)
    except NoSuchThing:
        return True
    return False


def _job(project: Project, folder: Path, number: int, task: str) -> Job:
    task = task if task in TASKS else "optimise" if (folder / HISTORY_FILE).is_file() else "generate"
    out = f"jobs/{folder.name}"
    argv = evaluation(project, f"{out}/{LIGANDS_FILE}", out) if task == "import" else evaluation(project, out)
    scored = (folder / TABLE_FILE).is_file()
    return Job(
        number, project.id, task, _fields(folder), (JobStep(SCORING, tuple(argv)),), step=int(scored),
        state=DONE if scored else INTERRUPTED, message="" if scored else NOT_SCORED,
        created=(folder / LIGANDS_FILE).stat().st_mtime, folder=folder.name,
    )  # fmt: skip


def _fields(folder: Path) -> dict[str, Any]:
    requested = (earlier_record(folder / SAMPLES_FILE) or {}).get("requested")
    return {"num": requested} if isinstance(requested, int) else {"name": folder.name}


def _rename_notes(project: Project, renamed: Mapping[str, int]) -> None:
    notes = {}
    for id, own in read_notes(project).items():
        job, _, index = id.partition(".")
        notes[f"{renamed.get(job, job)}.{index}"] = own
    write_json(project.folder / NOTES_FILE, notes)
