"""Related sequences are found with their identity, unrelated ones are not."""

import shutil

import numpy as np
import pytest

from ligandsmith.data.homology import align, related_pairs

# the first 60 residues of hen egg-white lysozyme, of human ubiquitin, and of human myoglobin
LYSOZYME = "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINS"
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYN"
MYOGLOBIN = "MGLSDGEWQLVLNVWGKVEADIPGHGQEVLIRLFKGHPETLEKFDKFKHLKSEDEMKASE"


def mutated(sequence: str, places: int, seed: int) -> str:
    """The sequence with so many of its residues exchanged for alanine, or alanine for glycine."""
    chosen = set(np.random.default_rng(seed).choice(len(sequence), places, replace=False).tolist())
    return "".join(("G" if x == "A" else "A") if i in chosen else x for i, x in enumerate(sequence))


def test_relatives_are_found_with_their_identity_and_nothing_else() -> None:
    found = {(i, j): s for i, j, s in align([LYSOZYME, mutated(LYSOZYME, 18, 1), LYSOZYME[20:], UBIQUITIN, MYOGLOBIN])}
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    assert found[0, 1] == pytest.approx(0.7, abs=0.05)
    assert found[0, 2] == 1.0


def test_the_order_of_the_sequences_does_not_matter() -> None:
    sequences = [LYSOZYME, UBIQUITIN, mutated(LYSOZYME, 15, 2), MYOGLOBIN, mutated(UBIQUITIN, 15, 3)]
    forward = {frozenset((sequences[i], sequences[j])): s for i, j, s in align(sequences)}
    backward = sequences[::-1]
    assert forward == {frozenset((backward[i], backward[j])): s for i, j, s in align(backward)}
    assert len(forward) == 2


def test_sequences_shorter_than_a_run_and_an_empty_list_are_no_error() -> None:
    assert list(align([])) == []
    assert list(align(["AC", "A", LYSOZYME])) == []


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="mmseqs2 is not on the PATH")
def test_mmseqs2_finds_the_same_relatives() -> None:
    sequences = [LYSOZYME, mutated(LYSOZYME, 10, 1), UBIQUITIN, MYOGLOBIN]
    pairs, aligner = related_pairs(sequences)
    assert aligner == "mmseqs2"
    ((i, j, identity),) = pairs
    assert (i, j) == (0, 1)
    ((_, _, ours),) = align(sequences)
    assert identity == pytest.approx(ours, abs=0.05)
