"""Mutated files never end in a traceback: every reader gives a result or a LigandsmithError of one line.

The mutations are seeded. `LIGANDSMITH_FUZZ=2000 pytest tests/fuzz` tries more of them than the default.
"""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ligandsmith.chem.protein import load_protein
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.config import Config, load_config
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.sources import load_known, load_reference
from ligandsmith.generation.batch.manifest import read_manifest
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.structure.protein import read_protein
from tiny_runs import ROOT, TINY

SITE = ROOT / "examples/complexes/7sza"
PDB = gzip.decompress((SITE / "protein.pdb.gz").read_bytes())
SDF = (SITE / "ligand.sdf").read_bytes()
NUMBER = int(os.environ.get("LIGANDSMITH_FUZZ", "60"))
NASTY = [b"nan", b"inf", b"-1e30", b"********", b"999999999999", b"\x00", b"\xff\xfe", b"$$$$\n", b"M  END\n", b"",
         b"ATOM", b"TER\n", b"MODEL        2\n", b"data_x\nloop_\n", b"../..", b"<", b"-", b"\r"]  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: bytes, lines or ends."""
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            return data
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 30))
        lines = data.split(b"\n")
        line = int(rng.integers(len(lines)))
        nasty = NASTY[int(rng.integers(len(NASTY)))]
        choices: list[Callable[[], bytes]] = [
            lambda at=at, data=data: data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :],
            lambda at=at, data=data, n=length: data[:at] + data[at + n :],
            lambda at=at, data=data, nasty=nasty: data[:at] + nasty + data[at + len(nasty) :],
            lambda at=at, data=data, nasty=nasty: data[:at] + nasty + data[at:],
            lambda at=at, data=data: data[:at],
            lambda lines=lines, line=line: b"\n".join([*lines[:line], *lines[line + 1 :]]),
            lambda lines=lines, line=line: b"\n".join([*lines[:line], lines[line], *lines[line:]]),
            lambda lines=lines: b"\n".join(lines[i] for i in rng.permutation(len(lines))[: len(lines) // 2]),
        ]  # fmt: skip
        data = choices[int(rng.integers(len(choices)))]()
    return data


READERS: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
    "read_protein": ("x.pdb", PDB[:40_000], read_protein),
    "load_protein": ("x.pdb", PDB[:40_000], load_protein),
    "a gzipped protein": ("x.pdb.gz", gzip.compress(PDB[:40_000]), read_protein),
    "read_ligand": ("x.sdf", SDF, read_ligand),
    "load_reference": ("x.sdf", SDF, load_reference),
    "read_sdf": ("x.sdf", 3 * SDF, read_sdf),
    "read_complex": ("x.sdf", SDF, lambda path: read_complex(SITE / "protein.pdb.gz", path, "x")),
    "read_pocket": ("x.pdb", PDB, lambda path: read_pocket(path, SITE / "ligand.sdf")),
    "read_manifest": ("x.csv", b"pocket,protein,ligand,radius\na,p.pdb,l.sdf,\nb,q.pdb,m.sdf,8\n", read_manifest),
    "load_known": ("x.smi", b"CCO ethanol\nc1ccccc1\nCC(=O)O acid\n", load_known),
    "load_config": ("x.yaml", TINY.encode(), lambda path: load_config(Config(), path)),
}


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_give_a_result_or_one_line(name: str, tmp_path: Path) -> None:
    file_name, data, read = READERS[name]
    path = tmp_path / file_name
    for number in range(NUMBER):
        path.write_bytes(mutated(data, np.random.default_rng((number, len(name)))))
        message = ""
        try:
            read(path)
        except LigandsmithError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"{name}, mutation {number}: {type(error).__name__}: {error}") from error
        assert "\n" not in message, f"mutation {number}"
