"""The program that runs PDB2PQR and PROPKA in a process of its own: `python -m ligandsmith.structure.pdb2pqr_worker`.

They log to standard error and work through files, so that a process keeps their noise, and a run without end, away.
"""

import sys
from pathlib import Path

from ligandsmith.files import write_json

INPUT, OUTPUT, PKA = "input.pdb", "output.pdb", "pka.json"


def run_in(folder: Path, ph: str) -> None:
    """Complete and protonate `input.pdb` of a folder: writes `output.pdb` and the pKa values, `pka.json`."""
    from pdb2pqr import main  # noqa: PLC0415 (optional)

    main.REPAIR_LIMIT = 1.0  # a share of missing atoms above which it would leave all as they are
    flags = ["--ff", "AMBER", "--titration-state-method", "propka", "--with-ph", ph, "--keep-chain"]
    files = ["--pdb-output", folder / OUTPUT, folder / INPUT, folder / "output.pqr"]
    _, groups, _ = main.run_pdb2pqr([*flags, *files])
    rows = [
        {"residue": int(g["res_num"]), "name": str(g["res_name"]), "group": str(g["group_label"]).split()[0],
         "pka": round(float(g["pKa"]), 2)}
        for g in groups
    ]  # fmt: skip
    write_json(folder / PKA, rows)


if __name__ == "__main__":
    run_in(Path(sys.argv[1]), sys.argv[2])
