"""The routes of projects, sites and jobs; what they do is elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, UploadFile
from fastapi.responses import Response, StreamingResponse

from ligandsmith.errors import LigandsmithError
from ligandsmith.studio import answers, sites, structures
from ligandsmith.studio.dependencies import Asked, Named, Number, uploads_of
from ligandsmith.studio.jobs import QUEUED, RUNNING
from ligandsmith.studio.pockets import suggested_sites
from ligandsmith.studio.processes import last_lines
from ligandsmith.studio.progress import summary_of
from ligandsmith.studio.projects import NoSuchThing
from ligandsmith.studio.requests import ChosenSite, NewJob, NewProject
from ligandsmith.studio.service import Studio

NEWS_SECONDS, HEARTBEAT_SECONDS = 0.5, 15.0
api = APIRouter(prefix="/api")


@api.get("/projects", response_model=list[answers.ListedProject])
def list_projects(studio: Asked) -> list[dict[str, Any]]:
    """All projects, last changed first."""
    return studio.project_list()


@api.post("/projects", response_model=answers.ApiProject)
def create_project(studio: Asked, wanted: NewProject) -> dict[str, Any]:
    """Make a project, empty or with an example complex."""
    return studio.project_view(studio.projects.create(wanted.title, wanted.example or ""))


@api.get("/projects/{p}", response_model=answers.ApiProject)
def get_project(studio: Asked, project: Named) -> dict[str, Any]:
    """What is in a project."""
    return studio.project_view(project)


@api.delete("/projects/{p}", response_model=answers.Removed)
def remove_project(studio: Asked, project: Named) -> dict[str, Any]:
    """Move a project to the folder .trash."""
    studio.remove_project(project)
    return {"removed": project.id}


@api.post("/projects/{p}/structures", response_model=answers.ApiProject)
async def add_structures(studio: Asked, project: Named, file: list[UploadFile]) -> dict[str, Any]:
    """Give a project its protein (PDB, mmCIF) and reference ligand (SDF, MOL2), also gzipped."""
    uploads = await uploads_of(file)

    def add() -> dict[str, Any]:
        return studio.project_view(studio.add_structures(project, uploads))

    return await asyncio.to_thread(add)


@api.get("/projects/{p}/structures/{which}")
def get_structure(project: Named, which: str, format: str = "") -> Response:
    """The text of the `protein` (with format=pdb as PDB) or of the `ligand` (SDF)."""
    if which == "protein":
        return Response(structures.protein_text(project, format), media_type="text/plain")
    if which == "ligand":
        return Response(project.ligand_path.read_text(encoding="utf-8", errors="replace"), media_type="text/plain")
    raise NoSuchThing("there is a protein and a ligand")


@api.post("/projects/{p}/sites:preview", response_model=answers.SitePreview)
def preview_site(project: Named, site: ChosenSite) -> sites.Preview:
    """What a site selects."""
    return sites.preview(project, site.model_dump(exclude_none=True))


@api.get("/projects/{p}/sites:suggest", response_model=list[answers.SuggestedSite])
def suggest_sites(project: Named) -> list[dict[str, Any]]:
    """Pockets of the protein, best first."""
    return suggested_sites(project)


@api.put("/projects/{p}/site", response_model=answers.ApiProject)
def put_site(studio: Asked, project: Named, site: ChosenSite) -> dict[str, Any]:
    """Choose the site."""
    return studio.project_view(sites.set_site(studio.projects, project.id, site.model_dump(exclude_none=True)))


@api.post("/projects/{p}/jobs", response_model=answers.ApiJob | answers.ApiCommand)
def create_job(studio: Asked, project: Named, wanted: NewJob, dry_run: bool = False) -> dict[str, Any]:
    """Put a task into the queue; with `dry_run` only say its command lines."""
    if wanted.task == "import":
        raise LigandsmithError("molecules of another method are sent as a file, to .../molecules")
    if dry_run:
        return {"command": studio.command(project, wanted.task, wanted.fields)}
    return studio.progress.view(studio.start(project, wanted.task, wanted.fields))


@api.get("/jobs", response_model=list[answers.ApiJob])
def list_jobs(studio: Asked) -> list[dict[str, Any]]:
    """All jobs, in the order in which they were asked for."""
    return [studio.progress.view(job) for job in studio.store.all()]


@api.get("/jobs/{j}", response_model=answers.ApiJob)
def get_job(studio: Asked, j: Number) -> dict[str, Any]:
    """How far a job is."""
    return studio.progress.view(studio.store.get(j))


@api.get("/projects/{p}/jobs/{j}/log")
def get_log(studio: Asked, project: Named, j: Number) -> Response:
    """The end of what the commands of a job printed."""
    job = studio.library.job(project, j)
    return Response(last_lines(studio.runner.log(job)), media_type="text/plain")


@api.get("/jobs/{j}/events")
async def job_events(studio: Asked, j: Number) -> StreamingResponse:
    """Server-sent events: the job at each change, until it has ended."""
    studio.store.get(j)
    return StreamingResponse(_events(studio, j), media_type="text/event-stream")


async def _events(studio: Studio, id: int) -> AsyncIterator[str]:
    told: Any = None
    silent = 0.0
    while not studio.closing.is_set():
        view = await asyncio.to_thread(lambda: studio.progress.view(studio.store.get(id)))
        if summary_of(view) != told:
            told, silent = summary_of(view), 0.0
            yield f"event: job\ndata: {json.dumps(view)}\n\n"
        if view["state"] not in (QUEUED, *RUNNING):
            return
        await asyncio.sleep(NEWS_SECONDS)
        silent += NEWS_SECONDS
        if silent >= HEARTBEAT_SECONDS:
            silent = 0.0
            yield ": still there\n\n"


@api.post("/jobs/{j}:cancel", response_model=answers.ApiJob)
def cancel_job(studio: Asked, j: Number) -> dict[str, Any]:
    """Stop a job; what it made is kept."""
    return studio.progress.view(studio.runner.cancel(j))


@api.post("/jobs/{j}:continue", response_model=answers.ApiJob)
def continue_job(studio: Asked, j: Number) -> dict[str, Any]:
    """Put a stopped job into the queue again; it goes on where it was."""
    return studio.progress.view(studio.runner.resume(j))
