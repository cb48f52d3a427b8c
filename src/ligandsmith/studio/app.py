"""The application: its pages, its errors, and the routes of its API."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.rendering import PAGE_FOLDER
from ligandsmith.studio import molecule_routes, routes
from ligandsmith.studio.dependencies import Named
from ligandsmith.studio.projects import Conflict, NoSuchThing
from ligandsmith.studio.requests import invalid_line
from ligandsmith.studio.security import Access, Guard
from ligandsmith.studio.service import Studio

STATIC = Path(str(files("ligandsmith.studio") / "static"))
TEMPLATES = Environment(loader=PackageLoader("ligandsmith.studio", "pages"), autoescape=True, undefined=StrictUndefined)
SHARED = ("viewer.js", "table.js", "dom.js", "shared.css", "3Dmol-min.js", "3Dmol-LICENSE.txt")  # with the report
pages = APIRouter(include_in_schema=False)


def create_app(studio: Studio, access: Access) -> Guard:
    """The application of a studio, behind its guard."""
    app = FastAPI(title="ligandsmith studio", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.state.studio, app.state.access = studio, access
    app.include_router(routes.api)
    app.include_router(molecule_routes.molecule_api)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")
    for kind, status in ((NoSuchThing, 404), (Conflict, 409), (LigandsmithError, 422)):
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
    return Guard(app, access)


def _answer_with(status: int) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        if request.url.path.startswith("/api"):
            return JSONResponse({"detail": str(error)}, status)
        return PlainTextResponse(f"{error}\n", status)

    return answer


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": invalid_line(error.errors())}, 422)


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    text = f"the server failed ({type(error).__name__}); the terminal of `ligandsmith studio` says more"
    return JSONResponse({"detail": text}, 500)


@pages.get("/")
def index() -> HTMLResponse:
    """The page of all projects."""
    return HTMLResponse(TEMPLATES.get_template("index.html").render())


@pages.get("/projects/{p}")
def project_page(project: Named) -> HTMLResponse:
    """The page of a project."""
    return HTMLResponse(TEMPLATES.get_template("project.html").render(project_id=project.id, title=project.title))


@pages.get("/static/shared/{name}")
def shared_file(name: str) -> FileResponse:
    """A script or style that the report has, too."""
    if name not in SHARED:
        raise NoSuchThing("there is no such file")
    return FileResponse(str(PAGE_FOLDER / name))


@pages.get("/login")
def login_page(wrong: bool = False) -> HTMLResponse:
    """The page that asks for the password."""
    return HTMLResponse(TEMPLATES.get_template("login.html").render(wrong=wrong), 403 if wrong else 200)


@pages.post("/login")
def login(request: Request, password: Annotated[str, Form(max_length=1000)]) -> Response:
    """Give a browser with the right password the cookie."""
    access: Access = request.app.state.access
    if not access.login(password):
        return RedirectResponse("/login?wrong=true", 303)
    return RedirectResponse("/", 303, {"set-cookie": access.set_cookie()})
