"""The routes of the pages and of their JSON API; what they do is elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Form, HTTPException, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.depiction import depict
from ligandsmith.evaluation.report.rendering import PAGE_FOLDER
from ligandsmith.studio import exports, molecules, sites, structures
from ligandsmith.studio.interactions import interactions_of
from ligandsmith.studio.jobs import QUEUED, RUNNING
from ligandsmith.studio.pockets import suggested_sites
from ligandsmith.studio.processes import last_lines
from ligandsmith.studio.progress import summary_of
from ligandsmith.studio.projects import Conflict, NoSuchThing
from ligandsmith.studio.requests import Annotation, NewJob, NewProject, Site, Smiles, one_line
from ligandsmith.studio.security import Access, Guard
from ligandsmith.studio.service import Studio

MOST_FILES = 20
NEWS_SECONDS, HEARTBEAT_SECONDS = 0.5, 15.0
STATIC = Path(str(files("ligandsmith.studio") / "static"))
PAGES = Environment(loader=PackageLoader("ligandsmith.studio", "pages"), autoescape=True, undefined=StrictUndefined)
SHARED = ("viewer.js", "table.js", "dom.js", "shared.css", "3Dmol-min.js", "3Dmol-LICENSE.txt")  # with the report
api = APIRouter(prefix="/api")


def create_app(studio: Studio, access: Access) -> Guard:
    """The application of a studio, behind its guard."""
    app = FastAPI(title="ligandsmith studio", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.state.studio, app.state.access = studio, access
    app.include_router(api)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")
    for kind, status in ((NoSuchThing, 404), (Conflict, 409), (LigandsmithError, 422)):
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
    return Guard(app, access)


def _answer_with(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status)

    return answer


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": one_line(error.errors())}, 422)


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    text = f"the server failed ({type(error).__name__}); the terminal of `ligandsmith studio` says more"
    return JSONResponse({"detail": text}, 500)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


pages = APIRouter(include_in_schema=False)


@pages.get("/")
def index() -> HTMLResponse:
    return HTMLResponse(PAGES.get_template("index.html").render())


@pages.get("/projects/{p}")
def project_page(request: Request, p: str) -> HTMLResponse:
    project = _studio(request).projects.get(p)
    return HTMLResponse(PAGES.get_template("project.html").render(project_id=project.id, title=project.title))


@pages.get("/static/shared/{name}")
def shared_file(name: str) -> FileResponse:
    if name not in SHARED:
        raise NoSuchThing("there is no such file")
    return FileResponse(str(PAGE_FOLDER / name))


@pages.get("/login")
def login_page(wrong: bool = False) -> HTMLResponse:
    return HTMLResponse(PAGES.get_template("login.html").render(wrong=wrong), 403 if wrong else 200)


@pages.post("/login")
def login(request: Request, password: Annotated[str, Form(max_length=1000)]) -> Response:
    access: Access = request.app.state.access
    if not access.login(password):
        return RedirectResponse("/login?wrong=true", 303)
    return RedirectResponse("/", 303, {"set-cookie": access.set_cookie()})


@api.get("/projects")
def list_projects(request: Request) -> list[dict[str, Any]]:
    """All projects, last changed first."""
    return _studio(request).project_list()


@api.post("/projects")
def create_project(request: Request, wanted: NewProject) -> dict[str, Any]:
    """Make a project, empty or with an example complex."""
    studio = _studio(request)
    return studio.project_view(studio.projects.create(wanted.title, wanted.example or ""))


@api.get("/projects/{p}")
def get_project(request: Request, p: str) -> dict[str, Any]:
    """What is in a project."""
    studio = _studio(request)
    return studio.project_view(studio.projects.get(p))


@api.delete("/projects/{p}")
def remove_project(request: Request, p: str) -> dict[str, Any]:
    """Move a project to the folder .trash."""
    _studio(request).remove_project(p)
    return {"removed": p}


@api.post("/projects/{p}/structures")
async def add_structures(request: Request, p: str, file: list[UploadFile]) -> dict[str, Any]:
    """Give a project its protein (PDB, mmCIF) and reference ligand (SDF, MOL2), also gzipped."""
    studio = _studio(request)
    uploads = await _uploads(file)

    def add() -> dict[str, Any]:
        return studio.project_view(structures.add_structures(studio.projects, p, uploads))

    return await asyncio.to_thread(add)


async def _uploads(found: list[UploadFile]) -> list[structures.Upload]:
    if len(found) > MOST_FILES:
        raise HTTPException(413, f"at most {MOST_FILES} files at a time")
    return [structures.Upload(each.filename or "", await each.read()) for each in found]


@api.get("/projects/{p}/structures/{which}")
def get_structure(request: Request, p: str, which: str, format: str = "") -> Response:
    """The text of the `protein` (with format=pdb as PDB) or of the `ligand` (SDF)."""
    project = _studio(request).projects.get(p)
    if which == "protein":
        return Response(structures.protein_text(project, format), media_type="text/plain")
    if which == "ligand":
        return Response(project.ligand_path.read_text(encoding="utf-8", errors="replace"), media_type="text/plain")
    raise NoSuchThing("there is a protein and a ligand")


@api.post("/projects/{p}/sites:preview")
def preview_site(request: Request, p: str, site: Site) -> sites.Preview:
    """What a site selects."""
    return sites.preview(_studio(request).projects.get(p), site.model_dump(exclude_none=True))


@api.put("/projects/{p}/site")
def set_site(request: Request, p: str, site: Site) -> dict[str, Any]:
    """Choose the site."""
    studio = _studio(request)
    return studio.project_view(sites.set_site(studio.projects, p, site.model_dump(exclude_none=True)))


@api.post("/projects/{p}/jobs")
def create_job(request: Request, p: str, wanted: NewJob, dry_run: bool = False) -> dict[str, Any]:
    """Put a task into the queue; with `dry_run` only say its command lines."""
    studio = _studio(request)
    project = studio.projects.get(p)
    if wanted.task == "import":
        raise LigandsmithError("molecules of another method are sent as a file, to .../molecules")
    if dry_run:
        return {"command": studio.command(project, wanted.task, wanted.fields)}
    return studio.progress.view(studio.start(project, wanted.task, wanted.fields))


@api.get("/jobs")
def list_jobs(request: Request) -> list[dict[str, Any]]:
    """All jobs, in the order in which they were asked for."""
    studio = _studio(request)
    return [studio.progress.view(job) for job in studio.store.all()]


@api.get("/jobs/{j}")
def get_job(request: Request, j: int) -> dict[str, Any]:
    """How far a job is."""
    studio = _studio(request)
    return studio.progress.view(studio.store.get(j))


@api.get("/projects/{p}/jobs/{j}/log")
def get_log(request: Request, p: str, j: int) -> Response:
    """The end of what the commands of a job printed."""
    studio = _studio(request)
    job = studio.library.job(studio.projects.get(p), j)
    return Response(last_lines(studio.runner.log(job)), media_type="text/plain")


@api.get("/jobs/{j}/events")
async def job_events(request: Request, j: int) -> StreamingResponse:
    """Server-sent events: the job at each change, until it has ended."""
    studio = _studio(request)
    studio.store.get(j)
    return StreamingResponse(_events(studio, j), media_type="text/event-stream")


async def _events(studio: Studio, id: int) -> AsyncIterator[str]:
    told: Any = None
    silent = 0.0
    while not studio.runner.stopping.is_set():
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


@api.post("/jobs/{j}:cancel")
def cancel_job(request: Request, j: int) -> dict[str, Any]:
    """Stop a job; what it made is kept."""
    studio = _studio(request)
    return studio.progress.view(studio.runner.cancel(j))


@api.post("/jobs/{j}:continue")
def continue_job(request: Request, j: int) -> dict[str, Any]:
    """Put a stopped job into the queue again; it goes on where it was."""
    studio = _studio(request)
    return studio.progress.view(studio.runner.resume(j))


@api.get("/projects/{p}/molecules")
def list_molecules(  # noqa: PLR0913, PLR0917 - one argument for each part of the query
    request: Request,
    p: str,
    sort: Annotated[str, Query(max_length=60)] = "",
    descending: bool = False,
    filter: Annotated[str, Query(max_length=5000)] = "",
    page: Annotated[int, Query(ge=0, le=10**6)] = 0,
    size: Annotated[int, Query(ge=1, le=molecules.MOST_ROWS)] = 100,
    job: int | None = None,
) -> dict[str, Any]:
    """A page of the table of molecules."""
    studio = _studio(request)
    query = molecules.Query(sort, descending, _filter(filter), page, size, job)
    return studio.library.query(studio.projects.get(p), query)


def _filter(text: str) -> dict[str, Any]:
    try:
        wanted = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise LigandsmithError("the filter is no JSON") from None
    if not isinstance(wanted, dict):
        raise LigandsmithError("the filter is a JSON object")
    return wanted


@api.patch("/projects/{p}/molecules/{m}")
def annotate_molecule(request: Request, p: str, m: str, change: Annotation) -> dict[str, Any]:
    """Change the star or the note of a molecule."""
    studio = _studio(request)
    return studio.library.annotate(studio.projects.get(p), m, change.starred, change.note)


@api.post("/projects/{p}/molecules")
async def import_molecules(request: Request, p: str, file: UploadFile) -> dict[str, Any]:
    """Score molecules of another method, SDF or MOL2, in the protein's coordinates."""
    studio = _studio(request)
    (upload,) = await _uploads([file])

    def start() -> dict[str, Any]:
        return studio.progress.view(studio.start_import(studio.projects.get(p), upload))

    return await asyncio.to_thread(start)


@api.get("/projects/{p}/molecules/{m}/depiction.svg")
def depict_molecule(request: Request, p: str, m: str) -> Response:
    """A molecule in 2D."""
    studio = _studio(request)
    return _picture(studio.library.smiles(studio.projects.get(p), m))


def _picture(smiles: str) -> Response:
    svg = str(depict(smiles))
    if not svg:
        raise LigandsmithError("RDKit cannot draw this molecule")
    return Response(svg, media_type="image/svg+xml", headers={"cache-control": "private, max-age=3600"})


@api.post("/depict")
def depict_smiles(wanted: Smiles) -> Response:
    """A molecule in 2D, by its SMILES."""
    return _picture(wanted.smiles)


@api.get("/projects/{p}/molecules/{m}/molecule.sdf")
def get_molecule(request: Request, p: str, m: str) -> Response:
    """A molecule as the command wrote it."""
    studio = _studio(request)
    return Response(studio.library.record(studio.projects.get(p), m), media_type="chemical/x-mdl-sdfile")


@api.get("/projects/{p}/molecules/{m}/interactions")
def get_interactions(request: Request, p: str, m: str) -> list[dict[str, Any]]:
    """Interactions of a molecule with the protein."""
    studio = _studio(request)
    project = studio.projects.get(p)
    return interactions_of(project, studio.library.block(project, m))


@api.get("/projects/{p}/sites:suggest")
def suggest_sites(request: Request, p: str) -> list[dict[str, Any]]:
    """Pockets of the protein, best first."""
    return suggested_sites(_studio(request).projects.get(p))


@api.get("/projects/{p}/export")
def export(
    request: Request,
    p: str,
    format: Literal["sdf", "csv", "pdb", "report"],
    ids: Annotated[str, Query(max_length=60_000)] = "",
    filter: Annotated[str, Query(max_length=5000)] = "",
    job: int | None = None,
) -> Response:
    """Molecules with these ids (comma-separated), or all that pass the filter: sdf, csv, or pdb of one in the protein;
    or the report of a job, the last one that is done."""
    studio = _studio(request)
    project, names = studio.projects.get(p), [id for id in ids.split(",") if id]
    if format == "report":
        path = exports.report(project, studio.library.reported(project, names, job))
        return FileResponse(path, filename=f"{project.id}-report.html")
    if format == "pdb":
        if len(names) != 1:
            raise LigandsmithError("a PDB file is made of one molecule; choose one")
        return _file(
            exports.as_complex(project, studio.library.block(project, names[0])), f"{project.id}-{names[0]}.pdb"
        )
    found = studio.library.chosen(project, _filter(filter), names, job)
    if format == "csv":
        return _file(exports.as_csv(found["rows"], found["columns"]), f"{project.id}.csv")
    return _file(exports.as_sdf(studio.library, project, found["rows"]), f"{project.id}.sdf")


def _file(text: str, name: str) -> Response:
    """A download; its name has letters, digits, dots and dashes alone."""
    return Response(text, media_type="text/plain", headers={"content-disposition": f'attachment; filename="{name}"'})


@api.get("/projects/{p}/jobs/{j}/family")
def get_family(request: Request, p: str, j: int) -> list[dict[str, Any]]:
    """Where the molecules of an optimisation come from, also those that were not chosen."""
    studio = _studio(request)
    return studio.library.family(studio.projects.get(p), j)
