"""Extraction on a simulated cluster of three nodes: each file exactly once whatever is killed, removed or added.

A minute and 700 MB of Ray: so only where it is asked for, ``SPECGRAPH_TEST_RAY=1 pytest tests/test_extract_ray.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import specgraph as sg
from tests.corpus import BAD, bad, sound
from tests.test_extract import check_table, leftovers, names, parts, read

pytestmark = [
    pytest.mark.skipif(os.environ.get("SPECGRAPH_TEST_RAY") != "1", reason="set SPECGRAPH_TEST_RAY=1"),
    pytest.mark.filterwarnings("ignore"),  # of Ray's
]

# Found by every Python below the cluster; slows down those that decode, so that a job can be hit at any point.
SLOW = """
import sys
if any('specgraph.runtimes.extract.worker' in given for given in sys.orig_argv):
    import time
    import specgraph.decoding as decoding
    class Slow(decoding.Decoder):
        def __init__(self, *given):
            time.sleep(0.25)
            super().__init__(*given)
    decoding.Decoder = Slow
"""
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    sound(folder)
    bad(folder)
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Three nodes of a core each, one of them the head."""
    ray = pytest.importorskip("ray")
    utils = pytest.importorskip("ray.cluster_utils")
    slow = tmp_path_factory.mktemp("slow")
    (slow / "sitecustomize.py").write_text(SLOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(slow), str(ROOT)]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        for _ in range(2):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        made.mark = str(slow)
        ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
        yield made
        ray.shutdown()
        made.shutdown()


def actors(mark: str) -> list[int]:
    """The processes of the actors of this cluster."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker") and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("fault", ["worker killed", "node removed", "node added"])
def test_faults(cluster, corpus: Path, mel_file: Path, tmp_path: Path, fault: str) -> None:
    done: list[str] = []
    running: list[set[int]] = []  # actors, whenever a file is done
    at: list[int] = []
    nodes = 1 + len(cluster.worker_nodes)

    def report(files: int, of: int, seconds: float) -> None:
        running.append(set(actors(cluster.mark)))
        if files < 6 or done:
            return
        done.append(fault)
        at.append(len(running))
        if fault == "worker killed":
            os.kill(actors(cluster.mark)[0], signal.SIGKILL)
        elif fault == "node removed":
            cluster.remove_node(next(node for node in cluster.worker_nodes), allow_graceful=False)
        else:
            cluster.add_node(num_cpus=1)

    found = sg.extract(mel_file, corpus, tmp_path / "out", engine="ray", part_bytes=1, report=report)
    assert done == [fault]
    before, after = [len(now) for now in running[: at[0]]], [len(now) for now in running[at[0] :]]
    if fault == "node removed":
        assert max(before) == nodes
        assert min(after) < nodes
    elif fault == "node added":
        assert max(before) == nodes
        assert max(after) == nodes + 1, "the new node was not used"
    else:
        assert set().union(*running[at[0] :]) - set().union(*running[: at[0]]), "no other actor came"
    assert (found.files, found.wrong) == (40, len(BAD))
    check_table(read(tmp_path / "out"), corpus, mel_file)
    assert leftovers(tmp_path / "out") == []


def test_driver_killed(cluster, corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import specgraph as sg; sg.extract({str(mel_file)!r}, {str(corpus)!r}, {str(out)!r}, engine='ray', address={cluster.address!r}, part_bytes=1)"
    for number in range(2):
        had = parts(out)
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as driver:
            limit = time.monotonic() + 100
            while parts(out) < had + 4 and driver.poll() is None and time.monotonic() < limit:
                time.sleep(0.01)
            assert driver.poll() is None, f"driver {number} ended before it could be killed"
            driver.kill()
        assert had < parts(out) < 40
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=200, stderr=subprocess.DEVNULL)
    check_table(read(out), corpus, mel_file)
    assert read(out)["path"].to_pylist() == names(corpus)
