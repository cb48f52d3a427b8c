"""The comparison with other projects: stand-ins for their packages, ratios, the rows of the page."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.records import GeneratedLigand, Pocket

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import own, peers, performance_page, vs_peers  # noqa: E402
from benchmarks.measure import synthetic_complex  # noqa: E402
from benchmarks.stand_ins import knn_graph, scatter_mean, scatter_softmax, scatter_sum  # noqa: E402

GRAPH = torch.tensor([0, 0, 0, 2, 2])  # graph 1 has no rows


def test_scatter_stand_ins_do_what_a_loop_over_the_graphs_does() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 4)))
    parts = {0: x[:3], 2: x[3:]}
    total, mean = scatter_sum(x, GRAPH, 0, dim_size=4), scatter_mean(x, GRAPH, 0, dim_size=4)
    assert total[[1, 3]].abs().max() == mean[[1, 3]].abs().max() == 0
    for graph, part in parts.items():
        torch.testing.assert_close(total[graph], part.sum(0))
        torch.testing.assert_close(mean[graph], part.mean(0))
    softmax = torch.cat([part.softmax(0) for part in parts.values()])
    torch.testing.assert_close(scatter_softmax(x, GRAPH, 0, dim_size=4), softmax)


def test_the_stand_in_for_neighbours_finds_those_of_a_tree() -> None:
    sites = [synthetic_complex(12, 60, seed).pocket for seed in range(2)]
    x = np.concatenate([site.x for site in sites if site is not None])
    found = knn_graph(torch.from_numpy(x), 5, torch.arange(2).repeat_interleave(60)).view(2, 120, 5)
    assert bool((found[1] == torch.arange(120)[:, None]).all())  # row 0: neighbours, row 1: the atom
    for begin in (0, 60):
        _, expected = cKDTree(x[begin : begin + 60]).query(x[begin : begin + 60], 6)
        np.testing.assert_array_equal(found[0, begin : begin + 60].sort(1).values - begin, np.sort(expected[:, 1:]))


def test_every_peer_has_published_steps_and_a_name_on_the_page() -> None:
    assert {*peers.PEERS, "ligandsmith"} == set(vs_peers.PUBLISHED_STEPS) == set(performance_page.PEERS)
    assert set(performance_page.COMPARED) == set(peers.PEERS)


class Measured(vs_peers.Worker):
    """A worker whose costs are known."""

    def __init__(self, facts: dict[str, Any], **core_s: list[float]) -> None:
        self.facts = {"parameters": 1_000_000, **facts}
        self.costs = {s: [{"core_s": c, "peak_rss_gib": 2.0} for c in costs] for s, costs in core_s.items()}


@pytest.fixture
def compared() -> dict[str, Any]:
    """Batch 4 against a peer of 100 steps; three repeats of 8 ligands with the shipped weights."""
    return vs_peers.outcome("molcraft", 4, 8, {
        "peer": Measured({"stand_ins": []}, train=[9.0, 10.0, 60.0], denoise=[4.0]),
        "small": Measured({"steps": 50}, train=[0.5], denoise=[0.1], molecules=[1.0, 2.0, 9.0]),
        "defaults": Measured({"steps": 50}, molecules=[10.0, 12.0, 26.0]),
    })  # fmt: skip


def test_ratios_are_those_of_the_costs(compared: dict[str, Any]) -> None:
    assert compared["peer"]["molecules_100_core_s"] == 4 * 100 * 25  # a step of four molecules, 25 times
    assert compared["small"]["molecules_100_core_s"] == 2 * 25  # the median
    assert compared["small"]["train_ratio"] == 20
    assert compared["small"]["molecules_ratio"] == 200


def test_the_row_of_the_defaults_is_the_mean_over_all_its_ligands(compared: dict[str, Any]) -> None:
    row = compared["defaults"]
    assert row["ligands"] == 24
    assert row["molecules_100_core_s"] == 200  # 48 core-s for 24 ligands
    assert row["molecules_ratio"] == 50
    assert "train_ratio" not in row


def test_the_page_has_a_row_for_every_model_and_names_older_ones(compared: dict[str, Any]) -> None:
    result = {"peer": "molcraft", "batch": 4, "num": 8, "models": compared}
    rows = performance_page.peer_table([result]).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| MolCRAFT", "| ours, `small`", "| ours, `defaults`"]
    assert rows[2].split(" | ")[2:] == ["8", "", "", "50", "200 (50×)", "2.00 (1×) |"]
    assert "ours, older, `small`" in performance_page.peer_table([result | {"older": True}])


def test_the_defaults_are_the_weights_own_settings_and_another_seed_each_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Any, ...]] = []
    made: list[GeneratedLigand] = []

    def loaded(weights: str) -> LigandGenerator:
        asked.append((weights,))
        generator = load("tiny")  # quicker than the weights that are asked for
        generate = generator.generate

        def recorded(pocket: Pocket, num: int, seed: int = 0, **options: Any) -> list[GeneratedLigand]:
            asked.append((num, seed, options))
            made.extend(generate(pocket, num, seed, **options))
            return made

        monkeypatch.setattr(generator, "generate", recorded)
        return generator

    monkeypatch.setattr(own, "load", loaded)
    monkeypatch.setattr("sys.stdin", StringIO("molecules\nmolecules\n"))
    own.serve_defaults(1, 10)
    warm_up = (1, 0, {"num_atoms": "10", "steps": 2, "candidates": 1})
    assert asked == [("small",), warm_up, (1, 0, {"num_atoms": "10"}), (1, 1, {"num_atoms": "10"})]
    assert [ligand.mol is not None and ligand.mol.GetNumAtoms() for ligand in made[1:]] == [10, 10]
    facts, *costs = map(json.loads, capsys.readouterr().out.splitlines())
    assert facts["steps"] == 50
    assert len(costs) == 2
    assert min(cost["core_s"] for cost in costs) > 0
