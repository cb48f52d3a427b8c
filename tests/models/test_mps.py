"""Apple's GPUs have no float64: nothing of it reaches one. There is none here, so torch's fake tensors stand for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ligandsmith
from ligandsmith.diffusion import rng
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.generator import load
from ligandsmith.models.latent_diffusion import moments
from ligandsmith.options import Hardware
from ligandsmith.parallel.devices import usable_device
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.training.hardware import make_fabric

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = f"{Path(ligandsmith.__file__).parent}/"
SEEDS = rng.make_seeds(3, torch.arange(4))


class Float64(TorchDispatchMode):
    """Notes which modules compute, and where float64 tensors that are no single numbers come from: (module, device)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.modules: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.modules.add(_module())
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64 and value.dim():
                self.found.add((_module(), value.device.type))
        return result


def _module() -> str:
    frame = sys._getframe()
    while frame and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return frame.f_code.co_filename.removeprefix(PACKAGE) if frame else "tests"


@contextmanager
def fake_gpu() -> Iterator[Float64]:
    """Tensors without content, on a device that is not there."""
    with FakeTensorMode(allow_non_fake_inputs=True), Float64() as seen:
        yield seen


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
def test_noise_is_drawn_by_the_host_and_is_that_of_other_devices(draw: Any) -> None:
    with fake_gpu() as seen:
        value = draw(torch.empty(4, dtype=torch.int64, device="mps"), "x", (5, 3))
    assert (value.device.type, value.dtype, value.shape) == ("mps", torch.float32, (4, 5, 3))
    assert seen.found == {("diffusion/rng.py", "cpu")}


def test_moments_of_latents_have_no_float64_on_such_a_device() -> None:
    with fake_gpu() as seen:
        x, h, mask = (torch.ones(2, 7, *size, device="mps") for size in ((3,), (4,), ()))
        assert moments(x, h, mask > 0).dtype == torch.float32
        assert seen.found == set()
        moments(x.cpu(), h.cpu(), mask.cpu() > 0)
        assert seen.found == {("models/latent_diffusion.py", "cpu")}


def test_sampling_has_float64_only_where_the_host_computes() -> None:
    pocket, _ = read_pocket(
        ROOT / "examples/complexes/7sza/protein.pdb.gz", ligand=ROOT / "examples/complexes/7sza/ligand.sdf"
    )
    generator = load("tiny")
    with Float64() as seen:
        made = generator.generate(pocket, num=1, num_atoms="8", steps=2, candidates=2, relax=False)
    assert len(made) == 1
    assert {"models/layers.py", "models/ligand_vae.py", "diffusion/samplers.py"} <= seen.modules
    assert {module for module, _ in seen.found} == {"diffusion/rng.py"}


def test_without_such_a_device_the_cpu_computes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert usable_device("mps") == "cpu"
    line = "--device mps: no GPU of Apple here; using the CPU, in full precision"
    assert [r.message for r in caplog.records] == [line]
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert usable_device("mps") == "mps"
    with pytest.raises(LigandsmithError, match="--num_gpus 2: --device mps has one GPU"):
        make_fabric(Hardware("mps", num_gpus=2, threads=1))
