"""Properties beside the shards: values of known molecules, a file that fits any order of records."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.cli.main import main
from ligandsmith.data.dataset import ComplexDataset, open_dataset
from ligandsmith.data.properties import FILE, ligand_properties, read_properties
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import PROPERTIES
from ligandsmith.structure.ligands import mol_from_ligand


def test_values_of_aspirin() -> None:
    """QED 0.55, SA score 1.58, Crippen logP 1.31: RDKit's published examples."""
    found = ligand_properties(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"))
    assert found == pytest.approx([0.550, (10 - 1.58) / 9, 1.310], abs=2e-3)


def test_the_shipped_data_set_has_the_properties_of_its_ligands() -> None:
    data = ComplexDataset(None, "train")
    for i in (0, 7, len(data) - 1):
        ligand = data[i].ligand
        assert ligand.properties == pytest.approx(ligand_properties(mol_from_ligand(ligand)), abs=1e-5)


def test_records_without_a_row_have_unknown_properties() -> None:
    ids = [*ComplexDataset(None, "train").ids[:2], "nobody"]
    values = read_properties(open_dataset(None), ids)
    assert values is not None
    assert np.isfinite(values[:2]).all()
    assert np.isnan(values[2]).all()
    assert read_properties(open_dataset(None), ids[::-1])[::-1] == pytest.approx(values, nan_ok=True)


def test_a_folder_without_the_file_has_none_and_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    assert read_properties(tmp_path, ["a"]) is None
    (tmp_path / FILE).write_bytes(b"PAR1 and nothing more")
    with pytest.raises(LigandsmithError, match=r"properties\.parquet: damaged"):
        read_properties(tmp_path, ["a"])


def test_the_command_computes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smiles = tmp_path / "few.smi"
    smiles.write_text("CC(=O)Oc1ccccc1C(=O)O aspirin\nCC(=O)Nc1ccc(O)cc1 paracetamol\n")
    out = tmp_path / "data"
    assert main(["conformers", str(smiles), "--out", str(out)]) == 0
    made = (out / FILE).read_bytes()
    (out / FILE).unlink()
    assert main(["properties", str(out)]) == 0
    assert "2 ligands" in capsys.readouterr().out
    assert (out / FILE).read_bytes() == made
    assert len(PROPERTIES) == 3
    assert main(["properties", str(tmp_path / "none")]) != 0
