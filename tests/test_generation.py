"""From a checkpoint and a pocket to ligands: reproducible, independent of batches, continued where it stopped."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rdkit import Chem

import ligandsmith
from ligandsmith.checkpoints.files import fingerprint, load_vae
from ligandsmith.chem.fragment import read_fragment
from ligandsmith.chem.plausibility import PLAUSIBLE, Defects, PocketAtoms, find_defects
from ligandsmith.chem.sdf import complete_records, read_sdf
from ligandsmith.cli.main import main
from ligandsmith.config import MIN_ATOMS
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import held_alone, remove_all
from ligandsmith.generation.generator import LigandGenerator, load, size_range
from ligandsmith.generation.output import funnel, generate_to_folder
from ligandsmith.generation.sampler import Candidate, LigandSampler
from ligandsmith.generation.unfinished import KeptLatents
from ligandsmith.models.size import CLASSES, FittedSizeModel
from ligandsmith.options import GenerationOptions
from ligandsmith.records import BuildFailure, GeneratedLigand, Pocket
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import read_pocket
from tiny_runs import ROOT, Tiny

SITE = ROOT / "examples/complexes/7sza"
PROTEIN, LIGAND = SITE / "protein.pdb.gz", SITE / "ligand.sdf"
OPTIONS = GenerationOptions(num=5, num_atoms="6-9", batch_size=2)


@pytest.fixture(scope="module")
def checkpoint(denoiser_dir: Path) -> Path:
    return denoiser_dir / "best_denoiser.pt"


@pytest.fixture(scope="module")
def generator(checkpoint: Path) -> LigandGenerator:
    torch.set_num_threads(1)
    return load(checkpoint)


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return read_pocket(PROTEIN, LIGAND)[0]


def described(ligands: list[GeneratedLigand]) -> list[tuple[int, int, str]]:
    return [(g.index, g.num_atoms, Chem.MolToSmiles(g.mol) if g.mol else g.reason) for g in ligands]


def positions(ligands: list[GeneratedLigand]) -> list[NDArray[np.float64]]:
    return [ligand.mol.GetConformer().GetPositions() for ligand in ligands if ligand.mol]


def test_a_ligand_does_not_depend_on_its_batch_mates(generator: LigandGenerator, pocket: Pocket) -> None:
    together = generator.generate(pocket, num=5, seed=3, num_atoms="6-12", batch_size=5)
    apart = generator.generate(pocket, num=5, seed=3, num_atoms="6-12", batch_size=2)
    assert described(together) == described(apart)
    assert len({g.num_atoms for g in together}) > 1
    pairs = [(a.mol, b.mol) for a, b in zip(together, apart, strict=True) if a.mol and b.mol]
    assert pairs
    for a, b in pairs:
        difference = a.GetConformer().GetPositions() - b.GetConformer().GetPositions()
        assert np.abs(difference).max() < 1e-3  # Å


def test_the_seed_and_the_index_choose_the_ligand(generator: LigandGenerator, pocket: Pocket) -> None:
    first, other, again = (generator.generate(pocket, num=3, seed=s, num_atoms="8") for s in (0, 1, 0))
    assert {g.num_atoms for g in first + other} == {8}
    assert described(first) == described(again)
    places = [x.mean(0).round(3).tolist() for x in positions(first + other)]
    assert len({tuple(place) for place in places}) == len(places) > 3


def test_ligands_come_in_the_frame_of_the_protein_file(generator: LigandGenerator, pocket: Pocket) -> None:
    """Moving the protein moves the ligands; the noise is told apart by the pocket, so only their place is compared."""
    moved = replace(pocket, x=pocket.x + np.float32(100))
    here, there = (np.concatenate(positions(generator.generate(p, num=4, num_atoms="8"))) for p in (pocket, moved))
    assert np.linalg.norm(here.mean(0) - pocket.x.mean(0)) < 15
    assert np.linalg.norm(there.mean(0) - moved.x.mean(0)) < 15


def test_the_python_interface(checkpoint: Path, pocket: Pocket) -> None:
    made = ligandsmith.load(checkpoint).generate(pocket, num=2, seed=0, num_atoms="7")
    again = ligandsmith.generate(checkpoint, pocket, num=2, seed=0, num_atoms="7")
    assert [g.index for g in made] == [0, 1]
    assert described(made) == described(again)


def test_the_most_plausible_of_several_candidates_is_kept(generator: LigandGenerator, pocket: Pocket) -> None:
    site = PocketAtoms.of(pocket.x, pocket.element)
    options = {"seed": 3, "num_atoms": "6-12", "steps": 5}
    single = generator.generate(pocket, num=6, **options)
    best = generator.generate(pocket, num=6, candidates=4, batch_size=2, **options)
    assert described(best) == described(generator.generate(pocket, num=6, candidates=4, batch_size=6, **options))
    assert [(g.index, g.num_atoms) for g in best] == [(g.index, g.num_atoms) for g in single]
    gains = [find_defects(a, site).score - find_defects(b, site).score for a, b in zip(single, best, strict=True)]
    assert min(gains) > -1e-3
    assert max(gains) > 0.1
    for ligand in best:
        assert 1 <= ligand.candidates <= 4
        assert ligand.candidates == 4 or find_defects(ligand, site).score <= PLAUSIBLE
        assert ligand.candidates_valid <= ligand.candidates
        assert ligand.candidates_valid or not (ligand.raw_valid and ligand.connected)


@pytest.mark.parametrize(("candidates", "kept"), [(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "e"), (8, "e")])
def test_of_plausible_candidates_the_closest_to_the_request_is_kept(
    candidates: int, kept: str, generator: LigandGenerator, pocket: Pocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closeness never outweighs plausibility, and ends the search only together with it."""
    scripted = iter([("a", 5.0, 0.0), ("b", 0.2, 2.0), ("c", 0.9, 0.5), ("d", 3.0, 0.0), ("e", 0.8, 0.1)])

    def sample(*_: Any) -> list[Candidate]:
        name, score, distance = next(scripted)
        ligand = GeneratedLigand(0, 8, None, False, False, False, detail=name)
        return [Candidate(ligand, torch.zeros(8, 60), Defects(score, np.zeros(0, np.bool_)), distance)]

    monkeypatch.setattr(generator.sampler, "sample", sample)
    made = generator.generate(pocket, num=1, num_atoms="8", candidates=candidates, logp=2.0)
    assert (made[0].detail, made[0].candidates) == (kept, min(candidates, 5))


def test_the_folder_says_how_many_candidates_there_were(
    generator: LigandGenerator, pocket: Pocket, tmp_path: Path
) -> None:
    record = generate_to_folder(generator, pocket, replace(OPTIONS, candidates=3), tmp_path)
    rows = record["molecules"] + record["failures"]
    total, valid = (sum(row[name] for row in rows) for name in ("candidates", "candidates_valid"))
    assert total > len(rows)
    line = f"  chosen from {total} candidates, of which {valid / total:.0%} are valid and connected without repair"
    assert line in funnel(record)


@pytest.mark.parametrize("sampler", ["euler", "heun", "ddim", "ddpm", "dpmpp_2m"])
def test_every_sampler_runs(sampler: str, generator: LigandGenerator, pocket: Pocket) -> None:
    made = generator.generate(pocket, num=1, sampler=sampler, steps=2, num_atoms="6", cfg_scale=7.5)
    assert len(made) == 1
    assert made[0].mol is not None or made[0].reason


def test_sizes_follow_the_model_where_none_is_given(
    generator: LigandGenerator, pocket: Pocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sizes(num: int, **options: Any) -> NDArray[np.int64]:
        return np.array([g.num_atoms for g in generator.generate(pocket, num=num, steps=1, batch_size=num, **options)])

    monkeypatch.setattr("ligandsmith.generation.sampler.build_molecule", lambda _: BuildFailure("valence", "not built"))
    drawn = sizes(40)
    assert 10 < drawn.mean() < 50
    assert len(set(drawn.tolist())) > 5
    bounded = sizes(40, num_atoms="18-20")
    assert set(bounded.tolist()) == {18, 19, 20}


def test_a_size_model_is_used_for_the_cut_that_it_was_fitted_to(
    generator: LigandGenerator, pocket: Pocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = FittedSizeModel(generator.config.pocket_vae.latent_width).eval()
    torch.nn.init.zeros_(fitted.net[-1].weight)
    with torch.no_grad():
        fitted.net[-1].bias.copy_(torch.where(torch.arange(CLASSES) == 17 - MIN_ATOMS, 50.0, 0.0))
    monkeypatch.setitem(generator.model.fitted_sizes._modules, "center", fitted)
    sizes = {
        cut: {g.num_atoms for g in generator.generate(replace(pocket, cut=cut), num=6, steps=1)}
        for cut in ("ligand", "center", "")
    }
    assert sizes["center"] == {17}
    assert sizes["ligand"] == sizes[""] != {17}


@pytest.mark.parametrize("text", ["3", "90", "20-10", "a", "1-2-3", ""])
def test_sizes_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(LigandsmithError, match="within 5-80"):
        size_range(GenerationOptions(num_atoms=text))


def test_the_folder_holds_every_request(generator: LigandGenerator, pocket: Pocket, tmp_path: Path) -> None:
    record = generate_to_folder(generator, pocket, OPTIONS, tmp_path, {"note": "x"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ligands.sdf", "samples.json"]
    assert json.loads((tmp_path / "samples.json").read_text()) == record
    assert (record["requested"], record["done"], record["note"]) == (5, 5, "x")
    assert record["identity"]["checkpoint"] == generator.checkpoint_hash
    assert record["identity"]["sampling"]["steps"] == 3
    listed = [m["index"] for m in record["molecules"]] + [f["index"] for f in record["failures"]]
    assert sorted(listed) == [0, 1, 2, 3, 4]
    for entry, row in zip(read_sdf(tmp_path / "ligands.sdf"), record["molecules"], strict=True):
        assert entry.mol is not None
        properties = entry.mol.GetPropsAsDict(autoConvertStrings=False)
        assert properties["index"] == str(row["index"])
        assert properties["smiles"] == row["smiles"]
        assert properties["checkpoint"] == generator.checkpoint_hash
        assert {"seed", "pocket", "raw_valid", "repaired", "connected", "heavy_atoms"} <= properties.keys()
        assert entry.title == f"ligand_{row['index']:05d}"


def test_an_interrupted_run_continues_to_the_same_files(
    generator: LigandGenerator, pocket: Pocket, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    generate_to_folder(generator, pocket, OPTIONS, whole)
    original = LigandGenerator.batches

    def interrupted(self: LigandGenerator, *args: Any, **kwargs: Any) -> Iterator[list[GeneratedLigand]]:
        batches = original(self, *args, **kwargs)
        yield next(batches)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LigandGenerator, "batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate_to_folder(generator, pocket, OPTIONS, parts)
    assert json.loads((parts / "samples.json").read_text())["done"] == 2
    with (parts / "ligands.sdf").open("a") as file:  # a molecule that was written but not yet recorded, and half of one
        file.write("extra\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\nhalf\n")
    # Another batch size is the same request.
    generate_to_folder(generator, pocket, replace(OPTIONS, batch_size=3), parts)
    assert (parts / "ligands.sdf").read_bytes() == (whole / "ligands.sdf").read_bytes()
    a, b = (json.loads((folder / "samples.json").read_text()) for folder in (whole, parts))
    a.pop("seconds"), b.pop("seconds")
    assert a == b
    more = generate_to_folder(generator, pocket, replace(OPTIONS, num=6), parts)
    assert (more["requested"], more["done"]) == (6, 6)
    fewer = generate_to_folder(generator, pocket, replace(OPTIONS, num=1), parts)
    assert (fewer["requested"], fewer["done"]) == (6, 6)


def test_an_interruption_within_a_batch_keeps_each_finished_ligand(
    generator: LigandGenerator, pocket: Pocket, tmp_path: Path
) -> None:
    options = replace(OPTIONS, num=20, candidates=3, batch_size=20)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    generate_to_folder(generator, pocket, options, whole)
    original, calls = LigandSampler.sample, [0]

    def interrupted(self: LigandSampler, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 11:  # of 12 groups
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LigandSampler, "sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate_to_folder(generator, pocket, options, parts)
    kept = {path.name: path.stat().st_mtime_ns for path in (parts / "unfinished").glob("*/*.npy")}
    assert len(kept) == 10
    assert json.loads((parts / "samples.json").read_text())["done"] == 0
    early = complete_records((parts / "ligands.sdf").read_text())
    assert set(early) <= set(complete_records((whole / "ligands.sdf").read_text()))
    assert early
    seen: dict[str, int] = {}

    def clear(self: KeptLatents) -> None:
        seen.update({path.name: path.stat().st_mtime_ns for path in self.folder.glob("*/*.npy")})
        remove_all([self.folder] if self.folder.exists() else [])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeptLatents, "clear", clear)
        generate_to_folder(generator, pocket, options, parts)
    assert kept.items() < seen.items()  # none was made again
    assert (parts / "ligands.sdf").read_bytes() == (whole / "ligands.sdf").read_bytes()
    assert sorted(p.name for p in parts.iterdir()) == ["ligands.sdf", "samples.json"]


def test_a_folder_with_something_else_is_left_alone(generator: LigandGenerator, pocket: Pocket, tmp_path: Path) -> None:
    generate_to_folder(generator, pocket, replace(OPTIONS, num=1), tmp_path)
    with pytest.raises(LigandsmithError, match=r"different seed, sampling\); choose another --out"):
        generate_to_folder(generator, pocket, replace(OPTIONS, seed=1, steps=2), tmp_path)
    log, sdf = tmp_path / "samples.json", tmp_path / "ligands.sdf"
    sdf.write_text("")
    with pytest.raises(LigandsmithError, match="holds 0 of 1 molecules"):
        generate_to_folder(generator, pocket, OPTIONS, tmp_path)
    log.write_text("{")
    with pytest.raises(LigandsmithError, match="not the record of earlier samples"):
        generate_to_folder(generator, pocket, OPTIONS, tmp_path)
    log.unlink()
    sdf.write_text("mine")
    with pytest.raises(LigandsmithError, match=r"ligands\.sdf: is there without a samples\.json"):
        generate_to_folder(generator, pocket, OPTIONS, tmp_path)
    assert sdf.read_text() == "mine"


def test_a_second_process_in_the_same_folder_is_refused(
    generator: LigandGenerator, pocket: Pocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ligandsmith.files.HOLD_TRIES", 1)
    options = GenerationOptions(num=1, num_atoms="6")
    with held_alone(tmp_path / "out"), pytest.raises(LigandsmithError, match="another process is writing"):
        generate_to_folder(generator, pocket, options, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert generate_to_folder(generator, pocket, options, tmp_path / "out")["done"] == 1


def test_failures_are_listed_with_their_reasons(
    generator: LigandGenerator, pocket: Pocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ligandsmith.generation.sampler.build_molecule", lambda decoded: BuildFailure("valence", "atom 3")
    )
    record = generate_to_folder(generator, pocket, OPTIONS, tmp_path)
    assert record["failures"] == [
        {"index": i, "reason": "valence", "detail": "atom 3", "candidates": 1, "candidates_valid": 0} for i in range(5)
    ]
    assert record["molecules"] == []
    assert read_sdf(tmp_path / "ligands.sdf") == []


def test_a_vae_of_another_training_is_refused_by_name(
    generator: LigandGenerator, vae_dir: Path, tiny: Tiny, tmp_path: Path
) -> None:
    for name in ("ligand", "protein"):
        generator.require_vae(name, vae_dir / f"best_{name}_vae.pt")
    assert tiny.run("train-vae", tmp_path, "--model_type", "ligand", "--seed", "7", "--max_steps", "1") == 0
    other = tmp_path / "best_ligand_vae.pt"
    theirs = fingerprint(load_vae(other, "ligand").state)
    ours = generator.fingerprints()["ligand"]
    assert ours != theirs
    with pytest.raises(LigandsmithError, match=rf"ligand VAE {theirs} does not match .* ligand VAE {ours}"):
        generator.require_vae("ligand", other)


def test_generate_then_evaluate_on_the_command_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = ["--protein", str(PROTEIN), "--ligand", str(LIGAND)]
    words = ["generate", "--checkpoint", str(checkpoint), *site, "--num", "3", "--num_atoms", "6", "--threads", "1"]
    words += ["--cfg_scale", "7.5", "--device", "cpu", "--add-hs", "--out", str(tmp_path)]
    assert main(words) == 0
    first = (tmp_path / "ligands.sdf").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "ligands.sdf").read_bytes() == first
    out = capsys.readouterr().out
    assert "3 requested, 3 sampled" in out
    assert "heavy atoms within 10 Å of the reference ligand" in out
    assert main(["evaluate", str(tmp_path / "ligands.sdf"), *site, "--protocol", "none"]) == 0
    assert "valid_connected" in capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["metrics"]["valid"]["n"] == 3


@pytest.fixture(scope="module")
def fragment() -> Chem.Mol:
    """A part of 7sza's own ligand, in place."""
    ligand = read_ligand(LIGAND)
    bond = next(
        b
        for b in ligand.GetBonds()
        if not b.IsInRing() and b.GetBeginAtom().GetDegree() > 1 < b.GetEndAtom().GetDegree()
    )
    pieces = Chem.FragmentOnBonds(ligand, [bond.GetIdx()], addDummies=False)
    return min(Chem.GetMolFrags(pieces, asMols=True), key=lambda mol: abs(mol.GetNumAtoms() - 8))


def test_a_fragment_is_in_every_ligand_as_it_was_given(
    generator: LigandGenerator, pocket: Pocket, fragment: Chem.Mol, tmp_path: Path
) -> None:
    n = fragment.GetNumAtoms()
    options = replace(OPTIONS, num=8, num_atoms=f"{n + 2}-{n + 6}", fix=fragment)
    made = [ligand for batch in generator.batches(pocket, options) for ligand in batch]
    built = [ligand.mol for ligand in made if ligand.mol is not None]
    assert len(built) >= 2
    for mol in built:
        place = mol.GetConformer().GetPositions()[:n]
        assert np.array_equal(place.astype(np.float32), fragment.GetConformer().GetPositions().astype(np.float32))
        own = [a.GetAtomicNum() for a in fragment.GetAtoms()]
        assert [a.GetAtomicNum() for a in mol.GetAtoms()][:n] == own
        assert mol.GetNumAtoms() > n
        inner = {(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondType()) for b in fragment.GetBonds()}
        assert inner == {t for t in ((b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondType()) for b in mol.GetBonds())
                         if max(t[:2]) < n}  # fmt: skip
    record = generate_to_folder(generator, pocket, options, tmp_path)
    assert record["identity"]["fragment"] == read_fragment(fragment).digest
    with pytest.raises(LigandsmithError, match="different fragment"):
        generate_to_folder(generator, pocket, replace(options, fix=None), tmp_path)


def test_sizes_count_the_fragment(generator: LigandGenerator, pocket: Pocket, fragment: Chem.Mol) -> None:
    least = fragment.GetNumAtoms() + 1
    made = generator.generate(pocket, num=20, steps=1, fix=fragment)
    assert min(ligand.num_atoms for ligand in made) >= least
    with pytest.raises(LigandsmithError, match="counts the whole ligand"):
        generator.generate(pocket, num=1, num_atoms="5", fix=fragment)


def test_properties_that_are_asked_for_change_the_ligands(generator: LigandGenerator, pocket: Pocket) -> None:
    def places(**asked: float) -> list[list[float]]:
        usual = {"usual_qed": float("nan"), "usual_sa": float("nan")}
        return [x.tolist() for x in positions(generator.generate(pocket, num=4, num_atoms="8", **usual, **asked))]

    weight = generator.model.denoiser.property_embedding.weight.data
    before, plain = weight.clone(), places()
    assert plain
    assert places(qed=float("nan")) == plain
    weight.normal_(generator=torch.Generator().manual_seed(0))
    try:
        assert places() == plain
        assert places(qed=0.9) != plain
        assert places(qed=0.9, logp=0.0) != places(qed=0.9)
    finally:
        weight.copy_(before)


def test_usual_properties_are_told_where_none_is_requested_and_no_candidate_is_judged_by_them(
    generator: LigandGenerator, pocket: Pocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places(candidates: int, **asked: float) -> tuple[list[list[float]], list[int]]:
        made = generator.generate(pocket, num=4, num_atoms="8", candidates=candidates, **asked)
        return [x.tolist() for x in positions(made)], [ligand.candidates for ligand in made]

    embedding = generator.model.denoiser.property_embedding
    weight = torch.randn(embedding.weight.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setitem(embedding._parameters, "weight", torch.nn.Parameter(weight))
    nothing = {"usual_qed": float("nan"), "usual_sa": float("nan")}
    plain, requested, other = places(1, **nothing), places(1, qed=0.9), places(1, qed=0.2)
    usual: dict[str, float] = {"usual_qed": 0.9, "usual_sa": float("nan")}
    assert places(1, **usual) == requested != plain
    assert places(1, qed=0.2, **usual) == other
    monkeypatch.setattr("ligandsmith.generation.sampler.PLAUSIBLE", torch.inf)
    assert places(3)[1] == [1] * 4
    assert sum(places(3, qed=1.0)[1]) > 4
    blind = replace(generator.model.denoiser.config, properties=False)
    monkeypatch.setattr(generator.model.denoiser, "config", blind)
    assert places(1)[0]


def test_what_weights_cannot_give_is_refused(
    generator: LigandGenerator, pocket: Pocket, fragment: Chem.Mol, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LigandsmithError, match=r"--qed: 1\.5 is out of range: 0 to 1"):
        generator.generate(pocket, num=1, qed=1.5)
    plain = replace(generator.config.denoiser, fragments=False, properties=False)
    monkeypatch.setattr(generator, "config", replace(generator.config, denoiser=plain))
    with pytest.raises(LigandsmithError, match="--sa: these weights were not trained"):
        generator.generate(pocket, num=1, sa=0.5)
    with pytest.raises(LigandsmithError, match="--fix: these weights were not trained"):
        generator.generate(pocket, num=1, fix=fragment)


def test_autoguidance_changes_the_ligands_and_needs_triangle_updates(
    generator: LigandGenerator, pocket: Pocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places(scale: float) -> list[np.ndarray]:
        return positions(generator.generate(pocket, num=4, num_atoms="8", steps=4, autoguidance=scale))

    for block in generator.model.denoiser.self_blocks:  # hardly trained, they say nothing
        weight = torch.eye(*block.triangle.out.weight.shape)
        monkeypatch.setitem(block.triangle.out._parameters, "weight", torch.nn.Parameter(weight))
    plain = places(1.0)
    assert plain
    assert not all(np.array_equal(a, b) for a, b in zip(plain, places(2.0), strict=False))
    denoiser = replace(generator.config.denoiser, triangles=0)
    monkeypatch.setattr(generator, "config", replace(generator.config, denoiser=denoiser))
    with pytest.raises(LigandsmithError, match=r"--autoguidance 2: this network has no triangle updates"):
        generator.generate(pocket, num=1, autoguidance=2.0)


def test_repulsion_keeps_ligands_out_of_the_pocket(generator: LigandGenerator, pocket: Pocket) -> None:
    def nearest(repulsion: float) -> float:
        made = generator.generate(pocket, num=12, num_atoms="8", steps=10, repulsion=repulsion)
        return float(np.mean([np.linalg.norm(x[:, None] - pocket.x[None], axis=-1).min() for x in positions(made)]))

    assert nearest(1.0) > nearest(0.0) + 0.2
