"""Waiting for a CPU, read from a made-up /proc."""

from pathlib import Path

import pytest

from bakeoff_runner.waits import Waits

Threads = dict[str, tuple[float, float]]  # thread -> seconds that it ran and waited so far


class Kernel:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.waits = Waits(str(root / "proc"), str(root))
        (root / "cpuacct").mkdir()

    def says(self, used: float, threads: Threads) -> float | None:
        """Sample once more, with the container's CPU seconds and its threads' counts so far."""
        (self.root / "cpuacct/cpuacct.usage").write_text(f"{used * 1e9:.0f}")
        for tid, (ran, waited) in threads.items():
            task = self.root / f"proc/7/task/{tid}"
            task.mkdir(parents=True, exist_ok=True)
            (task / "schedstat").write_text(f"{ran * 1e9:.0f} {waited * 1e9:.0f} 12\n")
        self.waits.sample()
        return self.waits.seconds


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    kernel = Kernel(tmp_path)
    assert kernel.says(0.5, {"7": (0.5, 0.0)}) == 0.0
    return kernel


@pytest.mark.parametrize(
    ("used", "threads", "waited"),
    [
        pytest.param(0.6, {"7": (0.6, 0.9)}, 0.9, id="a neighbour runs in its place"),
        pytest.param(1.5, {"7": (1.5, 0.0)}, 0.0, id="it had a CPU all the time"),
        pytest.param(1.5, {f"{n}": (0.1, 0.9) for n in range(10, 20)}, 0.0, id="ten threads share one CPU"),
        pytest.param(0.6, {f"{n}": (0.01, 0.99) for n in range(10, 20)}, 0.9, id="ten threads share a tenth"),
        pytest.param(0.5, {"7": (0.5, 0.0)}, 0.0, id="it slept"),
    ],
)
def test_only_time_in_which_no_thread_of_the_container_can_have_run_counts(
    kernel: Kernel, used: float, threads: Threads, waited: float
) -> None:
    assert kernel.says(used, threads) == pytest.approx(waited)
    assert kernel.says(used, threads) == pytest.approx(waited), "the same counts again add nothing"


def test_a_thread_id_that_is_used_again_counts_from_its_start(kernel: Kernel) -> None:
    kernel.says(3.5, {"7": (3.5, 0.0)})
    assert kernel.says(3.6, {"7": (0.1, 0.4)}) == pytest.approx(0.4)


def test_a_thread_that_cannot_be_read_once_does_not_count_again(kernel: Kernel) -> None:
    threads = {"7": (0.5, 0.0), "8": (5.0, 0.0)}
    assert kernel.says(5.5, threads) == 0.0
    (kernel.root / "proc/7/task/8/schedstat").write_text("")
    kernel.waits.sample()
    assert kernel.says(5.5, threads) == 0.0


def test_a_kernel_without_these_counts_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    waits = Waits(str(tmp_path / "proc"), str(tmp_path))
    waits.sample()
    assert waits.seconds is None
