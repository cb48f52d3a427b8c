"""`doctor` tells what is there and what a run would need."""

import pytest

from ligandsmith.cli import doctor
from ligandsmith.cli.main import main


def test_doctor_prints_the_machine_and_a_forecast(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.OPTIONAL_PACKAGES, "no-such-package", "nothing")
    assert main(["doctor", "--preset", "tiny", "--batch_size", "4", "--device", "cpu", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Python 3.")
    assert any(line.startswith("no-such-package") and "not installed" in line for line in lines)
    assert "Preset tiny, batch size 4" in lines[-6]
    assert [line.split("  ")[1] for line in lines[-5:-1]] == ["ligand VAE", "protein VAE", "denoiser", "joint"]
