"""Complexes per second from Parquet shards, for data sets of 1,000 to 1,000,000 records; the last line is JSON.

`python -m benchmarks loading --records 1000 100000 1000000`
A data set of any size is simulated by naming one shard of synthetic complexes as often as needed; each naming is opened
on its own, and its row groups are read and decoded again. Rates: `in_order` reads the records one after the other,
`random` reads uniformly drawn ones (each costs a row group unless that is in memory), `training` reads in the order
of a training epoch, from its start, `batches` are in order, cut, centred and collated. `open_s` is the time to open
all shards, `index_s` that of reading the sizes of all records.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import peak_gib, report, synthetic_complex
from benchmarks.meter import timed
from ligandsmith.batches import collate
from ligandsmith.config import preset
from ligandsmith.data.collate import WINDOW, BucketSampler, FramedDataset
from ligandsmith.data.shards import ShardReader, write_shards
from ligandsmith.structure.vocabulary import VOCABULARY

DISTINCT = 32


def shard(folder: Path, rows: int, ligand: int, pocket: int) -> Path:
    """One shard of `rows` records, made of a few distinct ones."""
    distinct = [synthetic_complex(ligand, pocket, i) for i in range(DISTINCT)]
    records = (replace(distinct[i % DISTINCT], id=f"r{i}") for i in range(rows))
    _, refused = write_shards(folder, "complexes", records, rows_per_shard=rows)
    assert not refused, refused
    return next(folder.glob("complexes-*.parquet"))


def rate(work: Callable[[], Any], count: int, repeats: int) -> float:
    """Complexes per CPU second."""
    return count / float(np.median([timed(work)[0] for _ in range(repeats)]))


def rates(path: Path, records: int, args: argparse.Namespace) -> dict[str, float]:
    shards = max(1, records // args.rows)
    opened: list[ShardReader] = []
    open_s, _ = timed(lambda: opened.append(ShardReader([path] * shards, cached_groups=args.cached_groups)))
    reader = opened[0]
    index_s, _ = timed(reader.index)
    framed = FramedDataset(reader, preset("small").pocket, seed=0)
    chosen = np.random.default_rng(0).integers(0, len(reader), args.sample // 8)
    sampler = BucketSampler(np.random.default_rng(0).integers(10, 40, len(reader)), args.batch, seed=0)
    epoch = np.concatenate(list(islice(sampler.batches(), WINDOW // args.batch)))
    starts = iter(range(0, 10**9, args.sample))

    def in_order(read: Callable[[range], Any]) -> Callable[[], Any]:
        def work() -> None:
            begin = next(starts) % max(len(reader) - args.sample, 1)
            read(range(begin, min(begin + args.sample, len(reader))))

        return work

    def batches(rows: range) -> None:
        for begin in range(rows.start, rows.stop, args.batch):
            collate([framed[(0, i)] for i in range(begin, min(begin + args.batch, rows.stop))], VOCABULARY)

    return {
        "records": len(reader),
        "in_order": rate(in_order(lambda rows: [reader[i] for i in rows]), args.sample, args.repeats),
        "batches": rate(in_order(batches), args.sample, args.repeats),
        "training": rate(lambda: [reader[int(i)] for i in epoch], len(epoch), 1),
        "random": rate(lambda: [reader[int(i)] for i in chosen], len(chosen), 1),
        "open_s": open_s, "index_s": index_s,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--rows", type=int, default=4096, help="of a shard")
    parser.add_argument("--ligand", type=int, default=23)
    parser.add_argument("--pocket", type=int, default=350)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--sample", type=int, default=1024, help="records read in each measurement")
    parser.add_argument("--cached_groups", type=int, default=512, help="row groups of 64 records kept in memory")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        large = shard(Path(folder) / "large", args.rows, args.ligand, args.pocket)
        for records in args.records:
            path = large
            if records < args.rows:
                path = shard(Path(folder) / str(records), records, args.ligand, args.pocket)
            found.append({k: round(v, 3) for k, v in rates(path, records, args).items()})
    report(
        benchmark="loading", unit="complexes per CPU second", ligand=args.ligand, pocket=args.pocket, batch=args.batch,
        cached_groups=args.cached_groups, sizes=found, peak_rss_gib=peak_gib(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
