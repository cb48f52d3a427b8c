"""A file is written whole or not at all."""

from pathlib import Path

import pytest

from ligandsmith.files import atomic_write


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as part:
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as part:
        part.write_text(str(1 / len(path.suffix[4:])))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
