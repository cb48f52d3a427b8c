"""What tests of the studio's pages share."""

from collections.abc import Iterator

import pytest
from studio_browser import Server, browsing, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A studio of the tests of one module."""
    with served(tmp_path_factory.mktemp("studio") / "projects") as server:
        yield server


@pytest.fixture(scope="module")
def context(server: Server) -> Iterator["object"]:
    """A browser that is signed in, for the tests of one module: the address works once."""
    with browsing(server) as context:
        yield context
