"""The cut of the pocket and its frame, on real complexes."""

from dataclasses import replace

import numpy as np
import pytest

from ligandsmith.config import PocketConfig
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import NO_POCKET_SPREAD, to_frame
from ligandsmith.records import Complex, Pocket
from ligandsmith.structure.pocket import frame_origin, kept_atoms, mark_pocket, nearest_distance
from ligandsmith.structure.vocabulary import CALPHA

CONFIG = PocketConfig()


@pytest.fixture(scope="module")
def record() -> Complex:
    return ComplexDataset(None, "train")[3]


@pytest.fixture(scope="module")
def pocket(record: Complex) -> Pocket:
    assert record.pocket is not None
    return record.pocket


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_distances_are_those_to_the_nearest_point(record: Complex, pocket: Pocket) -> None:
    exact = np.linalg.norm(pocket.x[:, None].astype(float) - record.ligand.x[None], axis=-1).min(1)
    assert np.allclose(nearest_distance(pocket.x, record.ligand.x), exact, atol=2e-3)


@pytest.mark.parametrize("radius", [4.0, 8.0])
def test_a_cut_holds_what_is_near_and_the_alpha_carbons_around(record: Complex, pocket: Pocket, radius: float) -> None:
    config = PocketConfig(radius=radius, calpha_radius=radius + 2, max_atoms=10_000)
    cut = kept_atoms(mark_pocket(pocket, record.ligand.x, config))
    distance = nearest_distance(cut.x, record.ligand.x)
    assert (cut.atom_name[distance > radius] == CALPHA).all()
    assert (distance > radius).any()
    assert distance.max() <= radius + 2
    all_near = nearest_distance(pocket.x, record.ligand.x) <= radius
    assert int((distance <= radius).sum()) == int(all_near.sum())


def test_a_large_pocket_keeps_its_nearest_atoms(record: Complex, pocket: Pocket) -> None:
    cut = kept_atoms(mark_pocket(pocket, record.ligand.x, PocketConfig(max_atoms=50)))
    assert cut.num_atoms == 50
    nearest = np.sort(nearest_distance(pocket.x, record.ligand.x))[:50]
    assert np.allclose(np.sort(nearest_distance(cut.x, record.ligand.x)), nearest)


def test_the_origin_is_the_box_else_the_alpha_carbons_else_all_atoms(pocket: Pocket) -> None:
    box = np.array([1, 2, 3], np.float32)
    assert np.array_equal(frame_origin(replace(pocket, center=box)), box)
    assert np.allclose(frame_origin(pocket), pocket.x[pocket.atom_name == CALPHA].mean(0))
    bare = replace(pocket, atom_name=np.where(pocket.atom_name == CALPHA, 0, pocket.atom_name))
    assert np.allclose(frame_origin(bare), pocket.x.mean(0))


def test_validation_is_fixed_and_keeps_the_complex_together(record: Complex) -> None:
    framed = to_frame(record, CONFIG)
    again = to_frame(record, CONFIG)
    assert framed.pocket is not None
    assert again.pocket is not None
    assert np.array_equal(framed.ligand.x, again.ligand.x)
    assert np.allclose(framed.pocket.x[framed.pocket.atom_name == CALPHA].mean(0), 0, atol=1e-4)
    before = nearest_distance(kept_atoms(mark_pocket(record.pocket, record.ligand.x, CONFIG)).x, record.ligand.x)  # type: ignore[arg-type]
    assert np.allclose(nearest_distance(framed.pocket.x, framed.ligand.x), before, atol=2e-3)
    assert framed.pocket.center is None


def test_the_frame_does_not_depend_on_where_the_file_put_the_complex(record: Complex, pocket: Pocket) -> None:
    by = np.array([30, -50, 12], np.float32)
    moved = replace(
        record, ligand=replace(record.ligand, x=record.ligand.x + by), pocket=replace(pocket, x=pocket.x + by)
    )
    assert np.allclose(to_frame(moved, CONFIG).ligand.x, to_frame(record, CONFIG).ligand.x, atol=1e-3)


def test_training_varies_cut_and_origin(record: Complex) -> None:
    framed = [to_frame(record, CONFIG, rng(seed)) for seed in range(60)]
    sizes = {f.pocket.num_atoms for f in framed if f.pocket is not None}
    assert len(sizes) > 20
    centres = np.array([f.ligand.x.mean(0) for f in framed])
    assert np.all(centres.std(0) > 0.7 * CONFIG.center_jitter)
    shape = [f.ligand.x - f.ligand.x.mean(0) for f in framed]
    assert np.allclose(shape[0], shape[1], atol=1e-4)
    inner = [int((nearest_distance(f.pocket.x, f.ligand.x) < 5.9).sum()) for f in framed if f.pocket is not None]
    assert len(set(inner)) == 1
    assert np.array_equal(to_frame(record, CONFIG, rng(5)).ligand.x, framed[5].ligand.x)


def test_without_a_pocket_the_ligand_is_centred_or_spread(record: Complex) -> None:
    alone = replace(record, pocket=None)
    assert np.allclose(to_frame(alone, CONFIG).ligand.x.mean(0), 0, atol=1e-4)
    centres = np.array([to_frame(alone, CONFIG, rng(seed)).ligand.x.mean(0) for seed in range(300)])
    assert centres.std() == pytest.approx(NO_POCKET_SPREAD, rel=0.1)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_surroundings_stay_beside_what_is_kept(record: Complex, seed: int | None) -> None:
    cut, whole = (
        to_frame(record, CONFIG, None if seed is None else rng(seed), surroundings=surroundings)
        for surroundings in (False, True)
    )
    assert cut.pocket is not None
    assert whole.pocket is not None
    assert record.pocket is not None
    assert whole.pocket.num_atoms == record.pocket.num_atoms > cut.pocket.num_atoms
    again = kept_atoms(whole.pocket)
    for name in ("element", "residue", "atom_name", "residue_index", "x"):
        assert np.array_equal(getattr(again, name), getattr(cut.pocket, name)), name
    assert again.kept is None
    assert np.array_equal(whole.ligand.x, cut.ligand.x)
