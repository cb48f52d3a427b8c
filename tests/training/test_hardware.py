"""Devices and processes: fallbacks say so, and torchrun's word counts."""

import pytest
import torch

from ligandsmith.errors import LigandsmithError
from ligandsmith.options import Hardware
from ligandsmith.parallel.devices import usable_device, use_threads
from ligandsmith.training.hardware import make_fabric, process_counts

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
def test_without_a_gpu_the_cpu_computes_in_full_precision(caplog: pytest.LogCaptureFixture) -> None:
    fabric = make_fabric(Hardware("cuda", use_amp=True, threads=1))
    assert fabric.device.type == "cpu"
    assert fabric._precision.precision == "32-true"
    assert [r.message for r in caplog.records] == ["--device cuda: no GPU here; using the CPU, in full precision"]


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_on_a_cpu_needs_a_cpu_that_computes_in_it(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    wish = Hardware("cpu", threads=1, cpu_bf16=True)
    if able:
        assert make_fabric(wish)._precision.precision == "bf16-mixed"
        return
    with pytest.raises(LigandsmithError, match="no bfloat16 arithmetic"):
        make_fabric(wish)


def test_other_devices_are_refused() -> None:
    with pytest.raises(LigandsmithError, match="choose cuda, mps or cpu"):
        usable_device("tpu")


def test_torchrun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_counts(Hardware(num_gpus=3, num_nodes=2)) == (3, 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert process_counts(Hardware()) == (4, 2)


def test_threads_are_shared_among_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
        use_threads(0, processes=4)
        assert torch.get_num_threads() == 2
        use_threads(3, processes=4)
        assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
        use_threads(0)
        assert torch.get_num_threads() == 5
        use_threads(0, processes=4)  # torchrun sets the variable to 1
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "many")
        use_threads(0)
        assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)
