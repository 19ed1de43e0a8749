"""Training over several nodes: how they meet, and two real torchruns of which one is killed in the middle."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from spot_core.config.train import TrainConfig, result_settings, split_address
from spot_core.errors import ConfigError, EngineError, InputError, SpotError
from spot_core.training import node
from spot_core.training.checkpoints import latest
from spot_core.training.job import TrainingJob
from spot_core.training.launch import launch
from spot_core.training.line import Line, Refusal
from spot_core.training.meeting import Meeting
from spot_core.training.node import take_part
from spot_core.training.ranks import Seat, environment, ranks_of
from tests.spot_core.training.stage import STEPS, Stage, timeless

HOST = "127.0.0.2"  # node 0; the others come from 127.0.0.1


def free_address() -> str:
    with socket.create_server((HOST, 0)) as server:
        return f"{HOST}:{server.getsockname()[1]}"


def small_job(folder: Path, *, nodes: int) -> TrainingJob:
    """A job whose files are there, in name."""
    for name in ("config.json", "pairs.parquet"):
        (folder / name).write_text("{}")
    return TrainingJob(
        mode="reference",
        model_path=folder,
        pairs=(folder / "pairs.parquet",),
        settings=TrainConfig(nodes=nodes, ranks=1, rendezvous=free_address()),
        output_dir=folder / "out",
        scratch_dir=folder / "scratch",
        backend="gloo",
    )


@contextmanager
def thread(function: Callable[[], None]) -> Iterator[list[SpotError]]:
    """Runs ``function`` beside the body, and waits for it; yields what it raises."""
    raised: list[SpotError] = []

    def run() -> None:
        try:
            function()
        except SpotError as error:
            raised.append(error)

    beside = threading.Thread(target=run)
    beside.start()
    try:
        yield raised
    finally:
        beside.join(timeout=60)


def test_several_nodes_need_an_address_and_neither_is_part_of_a_key() -> None:
    with pytest.raises(ValidationError, match="nodes = 2, but rendezvous is not set: give host:port"):
        TrainConfig(nodes=2)
    for wrong in ("node0", "node0:", ":29500", "node0:0", "node0:70000", "node0:http"):
        with pytest.raises(ValidationError, match=r"write host:port, e\.g\. 10\.0\.0\.1:29500"):
            TrainConfig(nodes=2, rendezvous=wrong)
    config = TrainConfig(nodes=3, ranks=4, rendezvous="node-0.cluster:29500")
    assert config.world_size == 12
    assert split_address("node-0.cluster:29500") == ("node-0.cluster", 29500)
    assert result_settings(config) == result_settings(TrainConfig())


def test_a_node_that_never_comes_fails_the_stage_and_those_that_came_with_the_command_to_run(
    tmp_path: Path,
) -> None:
    job = small_job(tmp_path, nodes=3)
    address, to_do = job.settings.rendezvous, []
    with thread(lambda: take_part(address, wait_seconds=30)) as told, pytest.raises(EngineError) as error:
        launch(job, log_path=tmp_path / "log", on_wait=to_do.append, wait_seconds=3)
    assert to_do[0].endswith(f"Run on each other node: .venv/bin/spot join {address}")
    message = str(error.value)
    assert f"1 of 3 nodes have not come to {address}" in message and "within 0.05 minutes" in message
    assert f"here are this one, {socket.gethostname()} (127.0.0.1)" in message
    assert f"run on each missing node, in the project's folder: .venv/bin/spot join {address}" in message
    assert message in str(told[0]) and "the job ended before it began" in str(told[0])


def test_a_node_ends_when_no_stage_begins() -> None:
    address = free_address()
    with pytest.raises(EngineError, match=f"no training stage has come to {address} within 0 minutes"):
        take_part(address, wait_seconds=0)


def test_a_node_with_other_packages_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = small_job(tmp_path, nodes=2)
    old = {**node.facts(), "torch": "1.0"}
    monkeypatch.setattr(node, "facts", lambda: old)
    with (
        thread(lambda: take_part(job.settings.rendezvous, wait_seconds=30)) as told,
        pytest.raises(EngineError, match="1 of 2 nodes have not come"),
    ):
        launch(job, log_path=tmp_path / "log", wait_seconds=2)
    (refused,) = told
    assert isinstance(refused, ConfigError)
    assert f"torch 1.0 there, {torch.__version__} here" in str(refused)


def test_a_node_that_does_not_see_the_files_ends_the_job_and_names_them(tmp_path: Path) -> None:
    job = small_job(tmp_path, nodes=2)
    job.scratch_dir.mkdir()
    job.output_dir.mkdir()
    job.job_path.write_text(job.model_dump_json())
    (tmp_path / "pairs.parquet").unlink()
    with (
        thread(lambda: take_part(job.settings.rendezvous, wait_seconds=30)) as told,
        Meeting(job.settings) as meeting,
    ):
        meeting.gather(30)
        meeting.begin(job, log_path=tmp_path / "log")
        (failure,) = meeting.failures(wait_seconds=30)
    assert isinstance(told[0], InputError)
    assert failure.diagnosis.kind == "InputError" and failure.diagnosis.message == str(told[0])
    assert f"does not see what node 0 sees at {tmp_path / 'pairs.parquet'}: all nodes need" in str(told[0])


def test_a_stranger_is_no_node_and_one_too_many_is_refused(tmp_path: Path) -> None:
    job = small_job(tmp_path, nodes=2)
    where = split_address(job.settings.rendezvous)
    with Meeting(job.settings) as meeting:
        with socket.create_connection(where) as stranger, socket.create_connection(where):
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            nodes = [Line(socket.create_connection(where)) for _ in range(2)]
            for line in nodes:
                line.send(node.Hello(host="other", facts=node.facts()))
            meeting.gather(30)
            said = _heard(nodes[1])
        assert said in (None, Refusal(why="all nodes of this job are there"))
        assert meeting.failures() == []
        nodes[0].close()
        (failure,) = meeting.failures(wait_seconds=10)
    assert failure.node == "node 1, other (127.0.0.1)" and "gone" in failure.said


def _heard(line: Line) -> node.Message | None:
    try:
        return line.receive()
    except ConnectionError:
        return None


def test_an_address_that_cannot_be_listened_at_is_refused_by_its_setting(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        for address in (f"{HOST}:{taken.getsockname()[1]}", "192.0.2.1:29500", "no-such-host.invalid:29500"):
            with pytest.raises(ConfigError, match=f"train.rendezvous = {address}: cannot listen there"):
                Meeting(TrainConfig(nodes=2, rendezvous=address)).__enter__()


def test_what_ranks_say_to_each_other_stays_on_one_machine_unless_there_are_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spot_core.training.agent import OneAddressRendezvous

    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    job = small_job(tmp_path, nodes=1)
    assert environment(job, Seat.alone())["GLOO_SOCKET_IFNAME"] == "lo"
    assert "127.0.0.1:0" in ranks_of(job, Seat.alone(), log_path=tmp_path / "log").command

    before = {c.laddr for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN}
    agent = OneAddressRendezvous("127.0.0.1", 0, node=0, nodes=1, run_id="x")
    after = {c.laddr for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN}
    assert after - before == {("127.0.0.1", agent.next_rendezvous().bootstrap_store_info.master_port)}


def test_the_interface_is_the_one_of_the_nodes_address_unless_the_user_chose_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = {"eth7": [SimpleNamespace(address="10.1.2.3")]}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    seat = Seat(node=1, own_ip="10.1.2.3", store_ip="10.1.2.9", store_port=1234)
    job = small_job(tmp_path, nodes=2)
    variables = environment(job, seat)
    assert variables["NCCL_SOCKET_IFNAME"] == "=eth7" and "GLOO_SOCKET_IFNAME" not in variables
    command = ranks_of(job, seat, log_path=tmp_path / "log").command
    assert "10.1.2.9:1234" in command and "rank=1" in command


# --- two real nodes --------------------------------------------------------------------------------------------


@contextmanager
def half_of_the_cores(which: int) -> Iterator[None]:
    """What is started meanwhile has the first (0) or second (1) half of the cores, as each of two ranks on one node
    has: so all compute with as many threads, and results can be compared to the last bit."""
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    os.sched_setaffinity(0, cores[half * which :][:half] or cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def another_node(address: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``spot join`` as a user runs it, in a folder of its own."""
    folder.mkdir()
    command = [sys.executable, "-m", "spot_cli.main", "join", address, "--wait-minutes", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with (folder / "join.log").open("wb") as log, half_of_the_cores(1):
        joined = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield joined
    finally:
        joined.kill()
        joined.wait()


class TwoNodes:
    """The jobs of ``stage`` on two nodes of one rank each. The training loses a node when it is seen at step 5."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.folder = folder
        self.address = free_address()
        layout = {"nodes": 2, "ranks": 1, "rendezvous": self.address}
        self.reference = stage.job("two-reference", "reference", **layout)
        self.job = stage.job("two", **layout)
        with another_node(self.address, folder / "killed") as other, half_of_the_cores(0):
            launch(self.reference, log_path=folder / "reference.log")
            with pytest.raises(EngineError) as error:
                launch(
                    self.job,
                    log_path=folder / "two.log",
                    on_metrics=lambda row: other.send_signal(signal.SIGKILL) if row["step"] >= 5 else None,
                )
        self.error = str(error.value)
        self.left_behind = [
            p for p in psutil.process_iter(["cmdline"]) if str(self.job.job_path) in (p.info["cmdline"] or [])
        ]


@pytest.fixture(scope="module")
def two_nodes(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> TwoNodes:
    return TwoNodes(stage, tmp_path_factory.mktemp("nodes"))


@pytest.mark.engine
def test_two_nodes_compute_the_reference_of_one_with_two_ranks(stage: Stage, two_nodes: TwoNodes) -> None:
    made = pq.read_table(two_nodes.reference.output_dir / "reference.parquet")
    assert made.equals(pq.read_table(stage.reference))


@pytest.mark.engine
def test_a_killed_node_ends_the_job_everywhere_and_is_named(two_nodes: TwoNodes) -> None:
    assert f"node 1, {socket.gethostname()} (127.0.0.1): gone" in two_nodes.error
    assert "goes on from the last checkpoint" in two_nodes.error
    assert f"once `.venv/bin/spot join {two_nodes.address}` is started again" in two_nodes.error
    assert not two_nodes.left_behind
    assert latest(two_nodes.job.state_dir) is not None, "killed before the first checkpoint"


@pytest.mark.engine
def test_a_rerun_goes_on_and_ends_with_what_one_node_with_two_ranks_makes(
    stage: Stage, undisturbed: list[dict[str, Any]], two_nodes: TwoNodes
) -> None:
    log_path = two_nodes.folder / "two.log"
    done = latest(two_nodes.job.state_dir).steps_done
    rows: list[dict[str, Any]] = []
    with another_node(two_nodes.address, two_nodes.folder / "again") as other:
        with half_of_the_cores(0):
            launch(two_nodes.job, log_path=log_path, on_metrics=rows.append)
        assert other.wait(timeout=60) == 0
    assert f"going on after step {done} of {STEPS}" in log_path.read_text()
    assert "train: completed" in (two_nodes.folder / "again" / "join.log").read_text()
    assert timeless(rows) == timeless(undisturbed)
    for name, weight in stage.weights("undisturbed").items():
        assert torch.equal(stage.weights("two")[name], weight), name
