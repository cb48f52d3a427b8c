"""Small trained models for the tests of the scripts, the trainer and generation: seconds of training, tiny widths."""

import os
from pathlib import Path

import pytest

from ci_skips import unexpected_skips
from tiny_runs import TINY, Tiny


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true, a test that is skipped for any other reason than a missing GPU fails the run."""
    if os.environ.get("CI") != "true" or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])] if reporter else []
    unexpected = unexpected_skips(skipped)
    for reason in unexpected:
        reporter.write_line(f"not allowed to be skipped in CI: {reason}", red=True)
    if unexpected:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY)
    return Tiny(path)


@pytest.fixture(scope="session")
def vae_dir(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of both VAEs."""
    folder = tmp_path_factory.mktemp("vaes")
    for kind in ("ligand", "protein"):
        assert tiny.run("train-vae", folder, "--model_type", kind) == 0
    return folder


@pytest.fixture(scope="session")
def vae_paths(vae_dir: Path) -> list[str]:
    """The flags that give both VAEs to train_denoiser.py."""
    ligand, protein = vae_dir / "best_ligand_vae.pt", vae_dir / "best_protein_vae.pt"
    return ["--ligand_vae_path", str(ligand), "--protein_vae_path", str(protein)]


@pytest.fixture(scope="session")
def denoiser_dir(tiny: Tiny, vae_paths: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a denoiser with both VAEs frozen."""
    folder = tmp_path_factory.mktemp("denoiser")
    assert tiny.run("train-denoiser", folder, *vae_paths) == 0
    return folder
