"""Container, dev container and conda environment: well formed, from files that exist, without root; they work."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from container_steps import copied, replay, steps

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = [ROOT / "Dockerfile", ROOT / ".devcontainer/Dockerfile"]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint_has_no_complaints(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(hadolint), str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_hadolint_would_complain(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /tmp\nUSER root\n")
    hadolint = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([str(hadolint), str(tmp_path / "Dockerfile")], capture_output=True, check=False).returncode


def test_the_image_copies_what_its_context_has() -> None:
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in context if line.startswith("!")}
    copies = [step for step in steps(ROOT / "Dockerfile") if step.instruction == "COPY"]
    sources = {source for step in copies for source in copied(step)[0]}
    assert "*" in context
    assert {source.split("/")[0] for source in sources} == kept
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_is_for_the_cpu_runs_without_root_and_caches_its_layers() -> None:
    found = steps(ROOT / "Dockerfile")
    assert ("TORCH=cpu", 0) in [(step.argument, step.stage) for step in found if step.instruction == "ARG"]
    last = [step for step in found if step.stage == 1]
    assert [step.argument for step in last if step.instruction == "USER"] == ["1000"]
    assert [step.instruction for step in last][-2:] == ["ENTRYPOINT", "CMD"]
    order = [step.argument for step in found if step.instruction in ("COPY", "RUN") and step.stage == 0]
    dependencies = next(i for i, text in enumerate(order) if "--requirement pyproject.toml" in text)
    assert dependencies < order.index("src src")  # a change of the code installs no dependency again
    words = order[dependencies].split()
    assert {words[i + 1] for i, word in enumerate(words) if word == "--extra"} <= set(EXTRAS)


def test_the_dev_container_sets_up_as_a_user_does() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert (ROOT / ".devcontainer" / content["build"]["dockerfile"]).is_file()
    assert content["postCreateCommand"] == "make setup"
    user = (ROOT / ".devcontainer/Dockerfile").read_text(encoding="utf-8")
    assert f"--uid 1000 {content['remoteUser']}" in user


def test_the_conda_environment_names_files_and_extras_that_exist() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *from_conda, wheels = content["dependencies"]
    assert content["channels"][0] == "conda-forge"
    assert [entry.split()[0] for entry in from_conda] == ["python", "pip", "mmseqs2"]
    locked, ours = wheels["pip"]
    assert (ROOT / locked.removeprefix("--requirement ")).is_file()
    assert set(ours.removeprefix(".[").removesuffix("]").split(",")) <= set(EXTRAS)


def settings_of_pip() -> dict[str, str | None]:
    """The index and the folder of wheels that pip is configured with, as uv reads them: for torch, too."""
    found: dict[str, str | None] = {}
    for setting, variable in (("index-url", "UV_INDEX_URL"), ("find-links", "UV_FIND_LINKS")):
        done = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", f"global.{setting}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if value := done.stdout.strip():
            found |= {variable: value, "UV_TORCH_BACKEND": None}
    return found


def generates(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Runs the entry point: its version, and one ligand."""
    for name in ("protein.pdb.gz", "ligand.sdf"):
        shutil.copy(ROOT / "examples/complexes/7off" / name, folder)
    version = subprocess.run([*command, "--version"], env=environment, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("ligandsmith ")
    words = "generate --checkpoint small --num 1 --seed 0 --protein protein.pdb.gz --ligand ligand.sdf --out out"
    subprocess.run([*command, *words.split()], cwd=folder, env=environment, check=True)
    assert "$$$$" in (folder / "out/ligands.sdf").read_text(encoding="utf-8")


@pytest.mark.gate
def test_the_image_is_built_and_generates(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine")
    tmp_path.chmod(0o777)
    subprocess.run([docker, "build", "--tag", "ligandsmith:test", str(ROOT)], check=True)
    generates([docker, "run", "--rm", "--volume", f"{tmp_path}:/work", "ligandsmith:test"], tmp_path)


@pytest.mark.gate
def test_the_steps_of_the_image_work_in_a_clean_folder(tmp_path: Path) -> None:
    environment = replay(ROOT / "Dockerfile", tmp_path / "image", settings_of_pip())
    work = tmp_path / "work"
    work.mkdir()
    generates([str(tmp_path / "image/opt/ligandsmith/bin/ligandsmith")], work, environment)
