"""Which records come, how often, and what several processes see of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ligandsmith.config import Config
from ligandsmith.data.conformers import EmbedOptions, embed_conformers
from ligandsmith.data.dataset import SPLITS, ComplexDataset, Split, open_dataset
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import DataOptions
from ligandsmith.structure.vocabulary import ORIGIN_VOCABULARY, VOCABULARY
from ligandsmith.training.loaders import Loaders, make_loaders, open_records, record_sizes

OPTIONS = DataOptions(batch_size=4, num_workers=0, limit=7)


def ids(loaders: Loaders) -> list[tuple[str, ...]]:
    return [batch.ids for batch in loaders.train]


def test_every_complex_comes_once_an_epoch_and_as_many_ligands() -> None:
    loaders = make_loaders(OPTIONS, "complexes", Config(), VOCABULARY)
    complexes = ComplexDataset(None, Split.TRAIN).ids[:7]
    for epoch in (1, 2):
        loaders.train_sampler.epoch = epoch
        seen = [id for batch in ids(loaders) for id in batch]
        assert sorted(id for id in seen if id in complexes) == sorted(complexes)
        assert len(seen) == len(set(seen)) == 14
    assert [id for batch in loaders.validation for id in batch.ids if id in complexes] == []
    assert all(batch.pocket is not None for batch in loaders.validation)


def test_an_epoch_may_have_more_ligands_than_complexes() -> None:
    for ratio, extra in ((2.0, 4), (0.5, 1)):
        options = replace(OPTIONS, limit=2, ligands_per_complex=ratio)
        loaders = make_loaders(options, "complexes", Config(), VOCABULARY)
        complexes = set(ComplexDataset(None, Split.TRAIN).ids[:2])
        seen = {id for batch in ids(loaders) for id in batch}
        # The limit holds for the ligands, too: there are no more than two.
        assert (len(seen & complexes), len(seen - complexes)) == (2, min(extra, 2))


def test_processes_share_a_global_batch_and_the_weights_add_up() -> None:
    options = replace(OPTIONS, limit=9, ligand_only=False)
    whole = make_loaders(options, "complexes", Config(), VOCABULARY)
    halves = [
        make_loaders(
            replace(OPTIONS, limit=9, ligand_only=False, batch_size=2), "complexes", Config(), VOCABULARY, (r, 2)
        )
        for r in (0, 1)
    ]
    batches = [ids(loaders) for loaders in (whole, *halves)]
    assert [len(b) for b in batches] == [3, 3, 3]
    weights = [h.train_sampler.weights() for h in halves]
    for together, *parts in zip(*batches, strict=True):
        shares = [next(w)[0] for w in weights]
        weight = {id: 0.0 for id in together}
        for part, share in zip(parts, shares, strict=True):
            for id, value in zip(part, share.tolist(), strict=True):
                weight[id] += value / 2  # mean over the processes
        assert list(weight.values()) == pytest.approx([1 / len(together)] * len(together))


def test_a_resumed_epoch_has_the_rest_of_its_batches() -> None:
    loaders = make_loaders(OPTIONS, "complexes", Config(), VOCABULARY)
    loaders.train_sampler.epoch = 3
    whole = ids(loaders)
    loaders.train_sampler.start = 2
    assert ids(loaders) == whole[2:]


def test_ligands_with_elements_that_a_vocabulary_lacks_stay_out(caplog: pytest.LogCaptureFixture) -> None:
    options = DataOptions(ligand_only=False)
    everything, _ = open_records(options, Split.TRAIN, "complexes")
    caplog.set_level("INFO", "ligandsmith")
    some, always = open_records(options, Split.TRAIN, "complexes", ORIGIN_VOCABULARY)
    boron = sum(5 in everything[i].ligand.element for i in range(len(everything)))
    assert boron > 0
    assert len(some) == always == len(everything) - boron
    assert f"{boron} of {len(everything)} records left out" in caplog.text
    assert not any(5 in some[i].ligand.element for i in range(len(some)))
    assert len(record_sizes(some)) == len(some)


def test_the_ligand_vae_trains_on_conformers_alone(tmp_path: Path) -> None:
    smiles = ["CCO", "c1ccccc1C(=O)O", "CC(=O)Nc1ccc(O)cc1", "C1CCNCC1C", "CCOC(=O)C", "c1ccncc1CO", "CC(C)CC(N)C(=O)O"]
    (tmp_path / "x.smi").write_text("\n".join(smiles))
    embed_conformers(tmp_path / "x.smi", tmp_path / "data", EmbedOptions())
    splits = tmp_path / "data/splits.json"
    records, always = open_records(DataOptions(tmp_path / "data"), Split.TRAIN, "ligands")
    assert splits.exists()
    assert len(records) == always > 0
    assert all(records[i].pocket is None for i in range(len(records)))
    with pytest.raises(LigandsmithError, match="it has no complexes"):
        open_records(DataOptions(tmp_path / "data"), Split.TRAIN, "complexes")


def test_ids_of_a_split_without_a_record_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "data"
    shutil.copytree(open_dataset(), folder)
    splits = json.loads((folder / SPLITS).read_text())
    splits["train"] += ["lost1", "lost2"]
    (folder / SPLITS).write_text(json.dumps(splits))
    open_records(DataOptions(folder), Split.VALIDATION, "complexes")
    assert not caplog.text
    open_records(DataOptions(folder), Split.TRAIN, "complexes")
    assert "2 ids of the split train have no record: lost1, lost2" in caplog.text


def test_an_lmdb_needs_its_split_file(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match="--split_file"):
        open_records(DataOptions(tmp_path / "x.lmdb"), Split.TRAIN, "complexes")


def test_the_cut_of_a_record_differs_by_epoch_and_not_in_validation() -> None:
    loaders = make_loaders(OPTIONS, "pockets", Config(), VOCABULARY)
    data, validation = loaders.train.dataset, loaders.validation.dataset
    first, again, later = (data[(epoch, 0)] for epoch in (1, 1, 2))
    assert np.array_equal(first.ligand.x, again.ligand.x)
    assert not np.allclose(first.ligand.x, later.ligand.x)
    assert np.array_equal(validation[(1, 0)].ligand.x, validation[(2, 0)].ligand.x)
