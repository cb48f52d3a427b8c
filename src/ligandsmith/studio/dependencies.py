"""What routes ask for: the studio, the project of the address, uploaded files."""

from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request, UploadFile

from ligandsmith.studio.projects import Project
from ligandsmith.studio.service import Studio
from ligandsmith.studio.structures import Upload

MOST_FILES = 20


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _project(request: Request, p: str) -> Project:
    return _studio(request).projects.get(p)


MOST_JOBS = 10**9
Number = Annotated[int, Path(ge=1, le=MOST_JOBS)]
Asked = Annotated[Studio, Depends(_studio)]
Named = Annotated[Project, Depends(_project)]


async def uploads_of(found: list[UploadFile]) -> list[Upload]:
    """The content of uploaded files."""
    if len(found) > MOST_FILES:
        raise HTTPException(413, f"at most {MOST_FILES} files at a time")
    return [Upload(each.filename or "", await each.read()) for each in found]
