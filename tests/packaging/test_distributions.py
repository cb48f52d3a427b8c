"""The wheel and the source distribution: what is in them, how large they are, and that the wheel works by itself."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import NamedTuple

import pytest

import ligandsmith
from ligandsmith.data import dataset
from ligandsmith.errors import LigandsmithError

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/ligandsmith"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MB = 1_000_000
LARGEST_WHEEL, LARGEST_SOURCE = 36 * MB, 38 * MB  # package indexes take 100 MB
LARGEST = {"weights": 27 * MB, "datasets": 9 * MB, "studio": 2 * MB, "evaluation": 2 * MB}


class Distributions(NamedTuple):
    """The files that `python -m build` makes: the wheel, from the source distribution."""

    source: Path
    wheel: Path


def tracked() -> list[Path]:
    """The files of the project, without what git ignores."""
    if not (ROOT / ".git").exists():  # within a source distribution
        return [path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Built in a copy, so that nothing of an earlier build gets in."""
    folder, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dist")
    for path in tracked():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Distributions(next(out.glob("*.tar.gz")), next(out.glob("*.whl")))


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(built: Distributions) -> None:
    inside = {name for name in zipfile.ZipFile(built.wheel).namelist() if ".dist-info/" not in name}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert inside == {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    assert {"ligandsmith/py.typed", "ligandsmith/weights/denoiser_small.pt"} <= inside


def test_sizes_are_as_chosen(built: Distributions) -> None:
    assert built.wheel.stat().st_size <= LARGEST_WHEEL
    assert built.source.stat().st_size <= LARGEST_SOURCE
    sizes = dict.fromkeys(LARGEST, 0)
    for entry in zipfile.ZipFile(built.wheel).infolist():
        part = entry.filename.split("/")[1]
        if part in sizes:
            sizes[part] += entry.file_size
    assert {part: size for part, size in sizes.items() if size > LARGEST[part]} == {}
    assert all(sizes.values())


def test_the_metadata_say_what_an_index_shows(built: Distributions) -> None:
    archive = zipfile.ZipFile(built.wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    shown = message_from_bytes(archive.read(name))
    assert shown["Version"] == PROJECT["version"]
    assert shown["License-Expression"] == "MIT"
    assert shown["Requires-Python"] == ">=3.11"
    assert "diffusion model" in shown["Keywords"]
    assert "Typing :: Typed" in shown.get_all("Classifier", [])
    assert set(shown.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    licences = {Path(name).name for name in archive.namelist() if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "3Dmol-LICENSE.txt", "openchemlib-LICENSE.txt"}


def test_the_source_distribution_has_what_its_tests_need(built: Distributions) -> None:
    with tarfile.open(built.source) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {
        "train_vae.py",
        "tests/conftest.py",
        "examples/complexes/7off/ligand.sdf",
        "requirements/lock.txt",
    } <= inside
    assert {"CHANGELOG.md", "CITATION.cff", "SECURITY.md", "Makefile", ".ci/run", "scripts/setup.sh"} <= inside
    generated = {"PKG-INFO", "setup.cfg"}
    ours = {path.relative_to(ROOT).as_posix() for path in tracked()}
    files = {name for name in inside if "egg-info" not in name and "." in Path(name).name[1:]}
    assert files - ours - generated - {str(p) for name in ours for p in Path(name).parents} == set()


def test_the_wheel_alone_generates_ligands(built: Distributions, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(built.wheel).extractall(site)
    complex_ = ROOT / "examples/complexes/7off"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ligandsmith", "generate", "--checkpoint", "small", "--num", "1", "--steps", "6",
         "--candidates", "1", "--no-relax", "--rings", "known", "--protein", str(complex_ / "protein.pdb.gz"),
         "--ligand", str(complex_ / "ligand.sdf"), "--out", "out", "--device", "cpu"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/samples.json").is_file()
    version = subprocess.run(
        [sys.executable, "-P", "-c", "import ligandsmith; print(ligandsmith.__version__, ligandsmith.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert version == [PROJECT["version"], str(site / "ligandsmith/__init__.py")]


def test_the_version_is_semantic_and_written_once_in_each_record() -> None:
    version = PROJECT["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation
    released = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert released[0] == version
    assert re.findall(rf"['\"]{re.escape(version)}['\"]", "".join(p.read_text() for p in PACKAGE.rglob("*.py"))) == []


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(ligandsmith, name) for name in ligandsmith.__all__)
    assert sorted(ligandsmith.__all__) == sorted(ligandsmith._PUBLIC)


def test_a_missing_shipped_data_set_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SHIPPED_DATASET", "not_installed")
    with pytest.raises(
        LigandsmithError, match="is not installed; install the whole wheel, or name a data set"
    ) as raised:
        dataset.open_dataset()
    assert "\n" not in str(raised.value)
