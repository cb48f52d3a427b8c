"""Memory and rate of runs of many molecules (`--num`) and of training on data sets of many records (`--records`).

`--num`: everything but the networks is the code of `generate --manifest`. The molecules are random chains, cheap to
make; they go through the same chunks, duplicates and merging as others. Run it with two numbers and compare `peak_mib`.

`--records`: a data set of that size is simulated by links to one shard, with an index of its own for each record.
Batches come as in training, in one process: a window of 16,384 records at the start, the middle and the end of an
epoch. `plan_s` is the time to draw all batches of an epoch without reading them. `--data` takes a data set of your own,
also one at a URI.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rdkit import Chem

from benchmarks.measure import cpu_seconds, report, synthetic_complex
from ligandsmith.config import preset
from ligandsmith.data.collate import WINDOW
from ligandsmith.data.dataset import MANIFEST, SPLITS, Manifest, Split
from ligandsmith.data.index import INDEX_FILE, INDEX_SCHEMA, MADE_OF, NAMED_IDS, SHARD_ROWS, fingerprint_of
from ligandsmith.data.shards import IDS, index_of_shard, write_shards
from ligandsmith.files import file_hash, path_or_uri, write_json
from ligandsmith.generation.batch.merge import MergeOptions
from ligandsmith.generation.batch.run import BatchRequest, generate_batch
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.options import DataOptions, GenerationOptions
from ligandsmith.records import GeneratedLigand
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.loaders import make_loaders

SITE = Path(__file__).resolve().parents[1] / "examples/complexes/7sza"
ATOMS = 23


def chains(
    self: LigandGenerator, pocket: Any, options: GenerationOptions, start: int = 0, keeping: Any = None
) -> Iterator[Any]:
    """Chains of C, N and O at random coordinates, one in ten of which repeats an earlier one."""
    for index in range(start, options.num):
        rng = np.random.default_rng(index if index % 10 else index // 2)
        mol = Chem.MolFromSmiles("C" + "".join(rng.choice(["C", "N", "O"], ATOMS - 1)))
        conformer = Chem.Conformer(ATOMS)
        conformer.Set3D(True)
        conformer.SetPositions(rng.normal(size=(ATOMS, 3)) * 5)
        mol.AddConformer(conformer)
        yield [GeneratedLigand(index, ATOMS, mol, True, False, True)]


def peak_mib() -> float:
    """Largest resident set of this process since it was started, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def linked_set(folder: Path, records: int, args: argparse.Namespace) -> Path:
    """A data set of at least `records` training records: links to one shard, the last of them for validation."""
    shard = _shard(folder / "one", args.rows, args.ligand, args.pocket)
    digest, data = file_hash(shard), folder / "set"
    data.mkdir()
    names = [f"complexes-{number:05d}.parquet" for number in range(-(-records // args.rows) + 1)]
    for name in names:
        os.link(shard, data / name)
    splits = {str(split): [] for split in Split}  # only its hash is looked at where there is an index
    write_json(data / SPLITS, splits)
    manifest = Manifest({"complexes": len(names) * args.rows}, dict.fromkeys(names, digest))
    write_json(data / MANIFEST, asdict(manifest))
    _write_index(data, index_of_shard(shard), names, fingerprint_of(manifest.files, data / SPLITS))
    return data


def _shard(folder: Path, rows: int, ligand: int, pocket: int) -> Path:
    distinct = [synthetic_complex(ligand + i % 16, pocket, i) for i in range(32)]
    write_shards(folder, "complexes", (replace(distinct[i % 32], id=f"r{i}") for i in range(rows)), rows_per_shard=rows)
    return next(folder.glob("complexes-*"))


def _write_index(data: Path, table: pa.Table, names: list[str], made_of: str) -> None:
    with pq.ParquetWriter(data / INDEX_FILE, INDEX_SCHEMA, compression="zstd", use_dictionary=False) as writer:
        for number, name in enumerate(names):
            n, last = table.num_rows, name == names[-1]
            ids = [f"{number}-{id}" for id in table["id"].to_pylist()]
            place = np.arange(n, dtype=np.int32) + (0 if last else number * n)
            columns = [table["num_ligand"], table["num_pocket"], np.full(n, int(last), np.int8), place]
            writer.write_table(pa.table([pa.array(ids), *columns], schema=INDEX_SCHEMA), row_group_size=n)
        rows = dict.fromkeys(names, table.num_rows)
        named = {"train": (len(names) - 1) * table.num_rows, "validation": table.num_rows, "test": 0}
        facts = {MADE_OF: made_of, SHARD_ROWS: json.dumps(rows), NAMED_IDS: json.dumps(named), IDS: "links"}
        writer.add_key_value_metadata(facts)


def memory_mib() -> dict[str, float]:
    """Resident memory of this process: its own, and of files, which the system takes back when it needs it."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {
        name: round(int(fields[key].split()[0]) / 1024, 1) for name, key in (("own", "RssAnon"), ("file", "RssFile"))
    }


def training(data: Path | str, args: argparse.Namespace) -> None:
    """Open a data set as training does, draw an epoch, and read three windows of it."""
    make_loaders(DataOptions(num_workers=0, limit=64), "complexes", preset("small"), VOCABULARY)  # loads all code
    before, began = memory_mib(), time.perf_counter()
    options = DataOptions(data=data, batch_size=args.batch, num_workers=0, ligand_only=False)
    loaders = make_loaders(options, "complexes", preset("small"), VOCABULARY)
    sampler = loaders.train_sampler
    records, open_s, opened, began = len(sampler.sizes), time.perf_counter() - began, memory_mib(), time.perf_counter()
    batches = sum(1 for _ in sampler.batches())
    found: dict[str, Any] = {"open_s": open_s, "plan_s": time.perf_counter() - began, "batches": batches}
    found |= {"mib_before": before, "mib_opened": opened, "mib_planned": memory_mib()}
    found["bytes_per_record"] = (opened["own"] - before["own"]) * 2**20 / records
    window = min(WINDOW // args.batch, batches)
    for place, start in (("start", 0), ("middle", (batches // window // 2) * window), ("end", batches - window)):
        sampler.start = max(start, 0)
        began, began_cpu = time.perf_counter(), cpu_seconds()
        read = sum(len(batch.ids) for batch in islice(loaders.train, window))
        seconds, core_s = time.perf_counter() - began, cpu_seconds() - began_cpu
        found[place] = {"per_s": round(read / seconds), "per_core_s": round(read / core_s), "mib": memory_mib()}
    report(benchmark="streaming", records=records, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=10_000, help="molecules (%(default)s)")
    parser.add_argument("--chunk", type=int, default=100)
    parser.add_argument("--records", type=int, help="records of a simulated data set")
    parser.add_argument("--data", type=path_or_uri, help="data set of your own, or its URI")
    parser.add_argument("--rows", type=int, default=4096, help="records of a shard")
    parser.add_argument("--ligand", type=int, default=18, help="atoms of the smallest ligand")
    parser.add_argument("--pocket", type=int, default=200, help="atoms")
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.data is not None:
        training(args.data, args)
    elif args.records:
        with tempfile.TemporaryDirectory() as folder:
            training(linked_set(Path(folder), args.records, args), args)
    else:
        generation(args)


def generation(args: argparse.Namespace) -> None:
    """Chains through the machinery of `generate --manifest`."""
    generator = load("tiny")
    LigandGenerator.batches = chains  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        manifest, out = Path(folder) / "pockets.csv", Path(folder) / "run"
        manifest.write_text(f"pocket,protein,ligand\na,{SITE / 'protein.pdb.gz'},{SITE / 'ligand.sdf'}\n")
        request = BatchRequest(
            GenerationOptions(num=args.num), "tiny", chunk=args.chunk, merge=MergeOptions(unique=True, stop_below=0.01)
        )
        before, began = peak_mib(), time.perf_counter()
        totals = generate_batch(manifest, out, request, generator)["totals"]
        seconds, size = time.perf_counter() - began, (out / "a" / "ligands.sdf").stat().st_size / 2**20
        report(
            num=args.num, molecules=totals["molecules"], failures=totals["failures"], sdf_mib=size,
            before_mib=before, peak_mib=peak_mib(), seconds=seconds,
        )  # fmt: skip


if __name__ == "__main__":
    main()
