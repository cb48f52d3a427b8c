"""Pieces side by side: in order, each on one of torch's threads, and all of them stopped where one fails."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from ligandsmith.parallel.threads import Check, side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_several_threads() -> None:
    meeting = threading.Barrier(2, timeout=30)  # two pieces at the same time, or it breaks

    def work(item: int, check: Check) -> tuple[int, int]:
        check()
        meeting.wait()
        return item, torch.get_num_threads()

    assert side_by_side(work, [3, 1, 2, 4]) == [(3, 1), (1, 1), (2, 1), (4, 1)]
    assert torch.get_num_threads() == 2


def test_where_one_piece_fails_the_others_are_told() -> None:
    told = threading.Event()

    def work(item: int, check: Check) -> None:
        if item == 1:
            raise ValueError("broken")
        try:
            for _ in range(3000):
                check()
                time.sleep(0.01)
        except BaseException:
            told.set()
            raise

    with pytest.raises(ValueError, match="broken"):
        side_by_side(work, [1, 2, 3])
    assert told.is_set()
    assert torch.get_num_threads() == 2


def test_a_single_piece_keeps_the_threads() -> None:
    assert side_by_side(lambda item, check: (item, torch.get_num_threads()), [5]) == [(5, 2)]
