"""Scores of the user's own: what goes wrong is a failure of its molecules, what cannot be used is refused."""

import os
import sys
import time
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.design.scorers import load_scorers
from ligandsmith.errors import LigandsmithError

EXAMPLES = Path(__file__).parents[2] / "examples/scorers"


@pytest.fixture(scope="module")
def mols() -> list[Chem.Mol]:
    found = []
    for smiles in ("CCO", "c1ccccc1"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=1)
        found.append(Chem.RemoveHs(mol))
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a module of the user's."""
    (tmp_path / "own_scores.py").write_text(
        "import time\n"
        "def sizes(mols): return [mol.GetNumAtoms() for mol in mols]\n"
        "def raises(mols): raise SystemExit(3)\n"
        "def hangs(mols): time.sleep(60)\n"
        "def one(mols): return [1.0]\n"
        "def odd(mols): return ['much', float('nan')]\n"
        "value = 3\n"
    )
    (tmp_path / "broken_scores.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_function_scores(here: Path, mols: list[Chem.Mol]) -> None:
    (scorer,) = load_scorers(["own_scores:sizes"])
    assert scorer.name == "sizes"
    assert scorer(mols) == [3.0, 6.0]
    assert scorer([]) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", ["raises: SystemExit: 3"] * 2),
        ("one", ["one: gave 1 numbers for 2 molecules"] * 2),
        ("odd", ["odd: 'much' is no number", "odd: nan is no finite number"]),
    ],
)
def test_what_a_function_does_wrong_is_a_reason(here: Path, mols: list[Chem.Mol], name: str, said: list[str]) -> None:
    assert load_scorers([f"own_scores:{name}"])[0](mols) == said


def test_a_function_named_like_a_column_has_the_name_of_its_module(here: Path, mols: list[Chem.Mol]) -> None:
    (here / "rings_of.py").write_text("def score(mols):\n    return [m.GetRingInfo().NumRings() for m in mols]\n")
    (scorer,) = load_scorers(["rings_of:score"])
    assert scorer.name == "rings_of"
    assert scorer(mols) == [float(mol.GetRingInfo().NumRings()) for mol in mols]
    with pytest.raises(LigandsmithError, match="'round' is a column of the results"):
        load_scorers(["round=rings_of:score"])


def test_a_function_that_hangs_is_ended(here: Path, mols: list[Chem.Mol]) -> None:
    began = time.monotonic()
    assert load_scorers(["own_scores:hangs"], 1.0)[0](mols) == ["hangs: no scores within 1 s"] * 2
    assert time.monotonic() - began < 40


def command(code: str) -> str:
    """A command that runs Python code with the paths of SDF and CSV as arguments."""
    return f'mine={sys.executable} -c "{code}" {{sdf}} {{csv}}'


def test_commands_that_fail_are_reasons(mols: list[Chem.Mol]) -> None:
    cases = {
        "import sys; sys.exit('out of licences')": ["mine: its command ended with status 1: out of licences"] * 2,
        "import sys; open(sys.argv[2], 'w').write('index,score\\n1,2.5\\n')": ["mine: no row of it in the CSV", 2.5],
        "import sys; open(sys.argv[2], 'w').write('index,score\\n0,x\\n1,\\n')":
            ["mine: x is no number", "mine: an empty text is no number"],
        "pass": ["mine: no row of it in the CSV"] * 2,
    }  # fmt: skip
    for code, said in cases.items():
        assert load_scorers([command(code)])[0](mols) == said
    assert "No such file" in str(load_scorers(["no_such_program {sdf} {csv}"])[0](mols)[0])


def test_a_command_that_hangs_is_ended_with_all_that_it_started(mols: list[Chem.Mol], tmp_path: Path) -> None:
    script = tmp_path / "hang.sh"
    script.write_text(f"sleep 60 & echo $! > {tmp_path}/child; wait\n")
    assert load_scorers([f"bash {script} {{sdf}} {{csv}}"], 2.0)[0](mols) == ["bash: no scores within 2 s"] * 2
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    os.kill(child, 9)
    pytest.fail("a process that the command started is still there")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["own_scores:nothing"], "own_scores has no function 'nothing'"),
        (["own_scores:value"], "own_scores has no function 'value'"),
        (["no_such_module:score"], "no_such_module cannot be imported: ModuleNotFoundError"),
        (["broken_scores:score"], "broken_scores cannot be imported: RuntimeError: not today"),
        (["python score.py {sdf}"], "there is no {csv}"),
        (["score.py"], "give module:function, or a command with {sdf} and {csv}"),
        (["a 'b {sdf} {csv}"], "No closing quotation"),
        (["own_scores:sizes", "own_scores:sizes"], "two are named 'sizes'"),
        (["qed=own_scores:sizes"], "'qed' is a metric"),
    ],
)
def test_what_cannot_be_used_is_refused(here: Path, texts: list[str], said: str) -> None:
    with pytest.raises(LigandsmithError) as error:
        load_scorers(texts)
    assert said in str(error.value)


def test_the_examples(mols: list[Chem.Mol], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", list(sys.path))
    scorers = load_scorers(["flatness:sp3_share", f"tpsa={sys.executable} polar_surface.py {{sdf}} {{csv}}"])
    assert [scorer.name for scorer in scorers] == ["sp3_share", "tpsa"]
    assert scorers[0](mols) == [1.0, 0.0]
    assert scorers[1](mols) == [pytest.approx(0.2023), 0.0]
