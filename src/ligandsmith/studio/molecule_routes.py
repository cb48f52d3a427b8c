"""The routes of molecules: the table, pictures, files; what they do is elsewhere."""

import asyncio
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, UploadFile
from fastapi import Query as Parameter
from fastapi.responses import FileResponse, Response

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.depiction import depict
from ligandsmith.studio import answers, exports
from ligandsmith.studio.dependencies import MOST_JOBS, Asked, Named, Number, uploads_of
from ligandsmith.studio.interactions import interactions_of
from ligandsmith.studio.molecules import LARGEST_PAGE
from ligandsmith.studio.requests import Annotation, Smiles
from ligandsmith.studio.rows import Query

molecule_api = APIRouter(prefix="/api")


@molecule_api.get("/projects/{p}/molecules", responses={200: {"model": answers.Page}})
def list_molecules(  # noqa: PLR0913, PLR0917 - one argument for each part of the query
    studio: Asked,
    project: Named,
    sort: Annotated[str, Parameter(max_length=60)] = "",
    descending: bool = False,
    filter: Annotated[str, Parameter(max_length=5000)] = "",
    page: Annotated[int, Parameter(ge=0, le=10**6)] = 0,
    size: Annotated[int, Parameter(ge=1, le=LARGEST_PAGE)] = 100,
    job: Annotated[int | None, Parameter(ge=1, le=MOST_JOBS)] = None,
) -> Response:
    """A page of the table of molecules."""
    found = studio.library.query(project, Query(sort, descending, _filter(filter), page, size, job))
    return Response(json.dumps(found, allow_nan=False), media_type="application/json")


def _filter(text: str) -> dict[str, Any]:
    try:
        wanted = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise LigandsmithError("the filter is no JSON") from None
    if not isinstance(wanted, dict):
        raise LigandsmithError("the filter is a JSON object")
    return wanted


@molecule_api.patch("/projects/{p}/molecules/{m}", response_model=answers.ApiRow)
def annotate_molecule(studio: Asked, project: Named, m: str, change: Annotation) -> dict[str, Any]:
    """Change the star or the note of a molecule."""
    return studio.library.annotate(project, m, change.starred, change.note)


@molecule_api.post("/projects/{p}/molecules", response_model=answers.ApiJob)
async def import_molecules(studio: Asked, project: Named, file: UploadFile) -> dict[str, Any]:
    """Score molecules of another method, SDF or MOL2, in the protein's coordinates."""
    (upload,) = await uploads_of([file])

    def start() -> dict[str, Any]:
        return studio.progress.view(studio.start_import(project, upload))

    return await asyncio.to_thread(start)


@molecule_api.get("/projects/{p}/molecules/{m}/depiction.svg")
def depict_molecule(studio: Asked, project: Named, m: str) -> Response:
    """A molecule in 2D."""
    return _picture(studio.library.smiles(project, m))


def _picture(smiles: str) -> Response:
    svg = str(depict(smiles))
    if not svg:
        raise LigandsmithError("RDKit cannot draw this molecule")
    return Response(svg, media_type="image/svg+xml", headers={"cache-control": "private, max-age=3600"})


@molecule_api.post("/depict")
def depict_smiles(wanted: Smiles) -> Response:
    """A molecule in 2D, by its SMILES."""
    return _picture(wanted.smiles)


@molecule_api.get("/projects/{p}/molecules/{m}/molecule.sdf")
def get_molecule(studio: Asked, project: Named, m: str) -> Response:
    """A molecule as the command wrote it."""
    return Response(studio.library.record(project, m), media_type="chemical/x-mdl-sdfile")


@molecule_api.get("/projects/{p}/molecules/{m}/interactions", response_model=list[answers.Interaction])
def get_interactions(studio: Asked, project: Named, m: str) -> list[dict[str, Any]]:
    """Interactions of a molecule with the protein."""
    return interactions_of(project, studio.library.block(project, m))


@molecule_api.get("/projects/{p}/export")
def export_molecules(
    studio: Asked,
    project: Named,
    format: Literal["sdf", "csv", "pdb", "report"],
    ids: Annotated[str, Parameter(max_length=60_000)] = "",
    filter: Annotated[str, Parameter(max_length=5000)] = "",
    job: Annotated[int | None, Parameter(ge=1, le=MOST_JOBS)] = None,
) -> Response:
    """Molecules with these ids (comma-separated), or all that pass the filter: sdf, csv, or pdb of one in the protein;
    or the report of a job, the last one that is done."""
    names = [id for id in ids.split(",") if id]
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


@molecule_api.get("/projects/{p}/jobs/{j}/family", response_model=list[answers.Relative])
def get_family(studio: Asked, project: Named, j: Number) -> list[dict[str, Any]]:
    """Where the molecules of an optimisation come from, also those that were not chosen."""
    return studio.library.family(project, j)
