"""Files that are larger than they look are refused at a limit that is said, in bounded memory, and a flag lifts it."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.config import Config, load_config
from ligandsmith.data.dataset import Manifest
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import LARGEST_FILE, MEGABYTE, csv_content, file_limit, file_text, json_content, largest_file
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"
LIMITED = """
import resource, sys
from ligandsmith.cli.main import main
import ligandsmith.structure.protein, ligandsmith.evaluation.evaluate, ligandsmith.data.preparation
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


def bomb(path: Path, start: bytes, megabytes: int) -> Path:
    """A gzip file of some kilobytes that grows to so many MB, written without ever holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as stream:
        stream.write(packer.compress(start))
        zeros = b" " * MEGABYTE
        for _ in range(megabytes):
            stream.write(packer.compress(zeros))
        stream.write(packer.flush())
    return path


def limited(memory: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command that may take so many bytes beyond what its imports do."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LIMITED, str(memory), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.mark.parametrize("name", ["x.pdb.gz", "x.cif.gz", "x.sdf.gz", "x.csv.gz", "x.smi.gz", "x.json.gz"])
def test_a_gzip_bomb_is_refused_by_every_reader(name: str, tmp_path: Path) -> None:
    path = bomb(tmp_path / name, b"data_x\n" if "cif" in name else b"x\n", 3)
    readers = {"sdf": read_sdf, "csv": csv_content, "json": json_content}
    with (
        file_limit(2),
        pytest.raises((OSError, LigandsmithError), match="more than 2 MB unpacked; a higher --max_file"),
    ):
        readers.get(name.split(".")[1], file_text)(path)


def test_four_gigabytes_in_a_small_file_are_refused_within_two(tmp_path: Path) -> None:
    path = bomb(tmp_path / "x.pdb.gz", b"HEADER\n", 4000)
    assert path.stat().st_size < 8 * MEGABYTE
    words = ["--ligand", f"{SITE}/ligand.sdf", "--checkpoint", "tiny", "--device", "cpu", "--out", f"{tmp_path}/out"]
    done = limited(2000 * MEGABYTE, "generate", "--protein", str(path), *words)
    assert done.returncode == FAILED
    (line,) = done.stderr.splitlines()
    assert f"x.pdb.gz: not a PDB or mmCIF file (more than {LARGEST_FILE} MB unpacked" in line
    assert not (tmp_path / "out").exists()


def test_one_bomb_does_not_end_prepare_and_a_flag_lifts_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "large"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for file in ("protein.pdb.gz", "ligand.sdf"):
            shutil.copyfile(SITE / file, tmp_path / "in" / name / file)
    text = gzip.decompress((SITE / "protein.pdb.gz").read_bytes())
    remark = (b"REMARK " + b"x" * 72 + b"\n") * 20_000
    (tmp_path / "in/large/protein.pdb.gz").write_bytes(gzip.compress(remark + text))
    assert main(["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "a"), "--max_file_size", "1"]) == OK
    assert "1 refused: not a structure" in capsys.readouterr().out
    (refused,) = Manifest.load(tmp_path / "a").rejections
    assert refused.id == "large"
    assert "more than 1 MB unpacked" in refused.detail
    assert main(["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "b"), "--max_file_size", "2"]) == OK
    assert Manifest.load(tmp_path / "b").counts["complexes"] == 2
    assert largest_file() == LARGEST_FILE * MEGABYTE  # the flag ends with its command


def test_the_limit_reaches_worker_processes(tmp_path: Path) -> None:
    for name in ("good", "large"):
        shutil.copytree(SITE, tmp_path / "in" / name)
    text = gzip.decompress((SITE / "protein.pdb.gz").read_bytes())
    (tmp_path / "in/large/protein.pdb.gz").write_bytes(gzip.compress(b"REMARK " + b"x" * 1_200_000 + b"\n" + text))
    words = ["--out", str(tmp_path / "a"), "--workers", "2", "--max_file_size", "1"]
    assert main(["prepare", str(tmp_path / "in"), *words]) == OK
    assert [r.id for r in Manifest.load(tmp_path / "a").rejections] == ["large"]


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("file", ["samples.json", "summary.json", "splits.json", "c.json", "c.yaml", "new.json"])
def test_json_of_a_hundred_thousand_levels_is_one_line(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(SITE / "ligand.sdf", tmp_path / "ligands.sdf")
    (tmp_path / file).write_text(DEEP)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "per_molecule.csv").write_text("index,qed\n0,0.5\n")
    train = "train-vae --model_type ligand --device cpu --run_dir {0}/run --config {0}/{1}"
    words = {
        "samples.json": "evaluate {0}/ligands.sdf --protocol none --out {0}/out",
        "summary.json": "rank {0} --by qed",
        "splits.json": "split {0} --by file --file {0}/splits.json",
        "new.json": "split {0} --by file --file {0}/new.json",
    }.get(file, train)
    assert main(words.format(tmp_path, file).split()) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert file in line or "no records" in line


def test_more_requested_molecules_than_can_be_are_refused_unless_a_flag_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(SITE / "ligand.sdf", tmp_path / "ligands.sdf")
    (tmp_path / "samples.json").write_text(json.dumps({"requested": 99999999999, "failures": []}))
    evaluate = ["evaluate", str(tmp_path / "ligands.sdf"), "--protocol", "none", "--out", str(tmp_path / "out")]
    assert main(evaluate) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert "99999999999 molecules were requested; more than 1000000 are taken for an error; give" in line
    assert main([*evaluate, "--requested", "2"]) == OK
    (tmp_path / "m.csv").write_text("ligands,requested\nligands.sdf,99999999999\n")
    assert main(["evaluate", str(tmp_path / "m.csv"), "--out", str(tmp_path / "out")]) == FAILED
    assert "m.csv, line 2: requested is '99999999999', no whole number up to 1000000" in capsys.readouterr().err


PAIRS = list(zip("abcdef", "bcdefg", strict=True))
NINE = {p: ", ".join([f"*{p}"] * 9) for p, _ in PAIRS}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"{k}: &{k} [{NINE[p]}]\n" for p, k in PAIRS),
        "a: &a {x: 1}\n" + "".join(f"{k}: &{k} {{<<: [{NINE[p]}]}}\n" for p, k in PAIRS),
        "denoiser: [" + "1, " * 20_000 + "1]\n",
    ],
)
def test_a_configuration_of_aliases_of_aliases_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(LigandsmithError, match=r"more than 10000 entries and 20 aliases") as caught:
        load_config(Config(), tmp_path / "c.yaml")
    assert len(str(caught.value)) < 500
    (tmp_path / "c.yaml").write_text("diffusion: &a {precision: 0.01}\n")  # a few are fine
    assert load_config(Config(), tmp_path / "c.yaml").diffusion.precision == 0.01


def test_a_tensor_that_is_larger_than_what_is_stored_is_refused(tmp_path: Path) -> None:
    from ligandsmith.checkpoints.files import load_checkpoint, weights_folder  # noqa: PLC0415

    content = torch.load(weights_folder() / "ligand_vae_tiny.pt", weights_only=True)
    for tensor in (torch.zeros(1).expand(10**12), torch.full((3,), torch.nan)):
        content["vae_state"] |= {"huge": tensor}
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(LigandsmithError, match="vae_state has an entry that is no whole tensor of finite numbers"):
            load_checkpoint(tmp_path / "x.pt")


def test_a_checkpoint_that_is_compressed_inside_is_refused(tmp_path: Path) -> None:
    import zipfile  # noqa: PLC0415

    from ligandsmith.checkpoints.files import load_checkpoint  # noqa: PLC0415

    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * MEGABYTE)
    with pytest.raises(LigandsmithError, match="compressed inside"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_result_file_that_grows_beyond_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile  # noqa: PLC0415

    from ligandsmith.evaluation import torch_files  # noqa: PLC0415

    monkeypatch.setattr(torch_files, "LARGEST_PICKLE", 1000)
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 3 * MEGABYTE)
    with file_limit(2), pytest.raises(LigandsmithError, match="more than 2 MB unpacked; a higher --max_file_size"):
        torch_files.read_result_file(tmp_path / "x.pt")


def test_a_row_group_of_a_shard_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from ligandsmith.data.shards import SCHEMA, ShardReader  # noqa: PLC0415

    row = {f.name: 0 if pa.types.is_integer(f.type) else b"" if pa.types.is_binary(f.type) else "x" for f in SCHEMA}
    table = pa.Table.from_pylist([row | {"ligand_x": b"\0" * 3 * MEGABYTE}], schema=SCHEMA)
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "x.parquet").stat().st_size < MEGABYTE
    with file_limit(2), pytest.raises(LigandsmithError, match=r"x.parquet: more than 2 MB unpacked"):
        list(ShardReader([tmp_path / "x.parquet"]))
