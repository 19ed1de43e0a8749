"""An object store keeps what a folder keeps, whatever is killed, paused, lost or cut off."""

import json
import os
import shutil
import signal
import time

import pytest
import s3fs

from spot_core.errors import ArtifactError, ConfigError, StoreAwayError
from spot_core.oracles.replies import ReplyJournal
from spot_core.store import ArtifactStore
from spot_core.store.s3.lease import RemoteLease
from spot_core.store.s3.objects import Objects
from tests.spot_core.store.writing import RECIPE, row, start, write
from tests.stores import Keeper

LEASE = 3.0
FILES = 8


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Lets the test be on one machine or another: each has its own scratch folder."""

    def on(name):
        monkeypatch.setenv("SPOT_SCRATCH", str(tmp_path / name))
        return tmp_path / name

    return on


def store_at(location):
    return ArtifactStore(location, lease_seconds=LEASE)


def until(process, condition):
    """Waits for something that the process is to bring about."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def outcome(process):
    said, log = process.communicate(timeout=120)
    return json.loads(said), log


@pytest.mark.parametrize("next_machine", ["same", "other"])
def test_a_kill_in_the_middle_of_an_upload_leaves_nothing_half(make_bucket, machine, next_machine):
    location = f"s3://{make_bucket('slow')}/spot"
    kept = Keeper(location)
    killed = start(machine("first"), location=location, rows=5, files=FILES, lease=LEASE)
    until(killed, lambda: kept.names(".bin"))
    killed.kill()
    killed.wait()
    assert 0 < len(kept.names(".bin")) < FILES
    assert not kept.names("manifest.json")
    assert store_at(location).find(RECIPE) is None

    folder = machine("first" if next_machine == "same" else "other")
    said, log = outcome(start(folder, location=location, rows=5, files=FILES, lease=LEASE))
    assert "error" not in said
    assert ("files are uploaded already" in log) == (next_machine == "same")
    machine("third")
    artifact = store_at(location).get(RECIPE)
    assert artifact.digest == said["digest"]
    assert list(artifact.rows_as_dicts()) == [row(n) for n in range(5)]
    assert len(list(artifact.file("extra").glob("*.bin"))) == FILES


@pytest.mark.parametrize("paused", ["at work", "uploading", "about to complete"])
def test_a_paused_writer_that_goes_on_after_another_completed_changes_nothing(
    make_bucket, machine, tmp_path, paused
):
    location = f"s3://{make_bucket('slow')}/spot"
    kept, go = Keeper(location), tmp_path / "go"
    first = start(machine("first"), location=location, rows=5, files=FILES, lease=LEASE, go=str(go))
    until(first, lambda: list((tmp_path / "first").rglob("7.bin")))
    if paused != "at work":
        go.touch()
        wanted = 1 if paused == "uploading" else FILES
        until(first, lambda: len(kept.names(".bin")) >= wanted)
    first.send_signal(signal.SIGSTOP)

    machine("second")
    second = store_at(location)
    digest, _ = write(second, rows=4, files=1)
    second.get(RECIPE)
    counting = [name for name in kept.names() if name.startswith(artifact_folder(kept)) or "manifest" in name]
    before = {name: kept.read(name) for name in counting}

    first.send_signal(signal.SIGCONT)
    go.touch()
    said, log = outcome(first)
    assert said["digest"] == digest
    first_was_faster = paused != "at work" and second.get(RECIPE).rows == 5  # on a busy machine
    assert ("was completed by another process" in log) != first_was_faster
    assert [name for name in kept.names() if ".lease" not in name] == sorted(
        {*counting, ".spot-store"}
    )  # nothing is left of what the first one uploaded
    assert {name: kept.read(name) for name in counting} == before
    machine("third")
    assert store_at(location).get(RECIPE).digest == digest
    assert first_was_faster or store_at(location).get(RECIPE).rows == 4


def artifact_folder(kept):
    """Where the files lie that the one manifest names."""
    (manifest,) = kept.names("manifest.json")
    return f"{manifest.removesuffix('manifest.json')}{json.loads(kept.read(manifest))['attempt']}/"


def test_a_writer_that_lost_its_lease_to_one_at_work_stops_and_says_to_whom(bucket, machine, tmp_path):
    kept, go = Keeper(bucket), tmp_path / "go"
    first = start(machine("first"), location=bucket, rows=5, files=0, lease=LEASE, go=str(go))
    until(first, lambda: kept.names("/0.json"))
    first.send_signal(signal.SIGSTOP)
    machine("second")
    with store_at(bucket).write(RECIPE) as mine:
        first.send_signal(signal.SIGCONT)
        go.touch()
        said, _ = outcome(first)
        assert "another one has taken over (pid " in said["error"]
        assert not kept.names("manifest.json")
        mine.complete([row(7)], statistics={})
    assert store_at(bucket).get(RECIPE).rows == 1


def test_a_paused_writer_does_not_take_the_lease_of_a_later_generation_for_its_own(bucket, machine, tmp_path):
    kept, go = Keeper(bucket), tmp_path / "go"
    first = start(machine("first"), location=bucket, rows=5, files=0, lease=LEASE, go=str(go))
    until(first, lambda: list((tmp_path / "first").rglob(".work")))  # it has the lease and begins
    first.send_signal(signal.SIGSTOP)
    machine("second")
    digest, _ = write(store_at(bucket), rows=4, files=0)
    machine("third")
    with store_at(bucket).write(RECIPE, at_least=1) as mine:
        (held,) = kept.names(".json")[:1]
        first.send_signal(signal.SIGCONT)
        go.touch()
        said, log = outcome(first)
        assert said["digest"] == digest
        assert "was completed by another process" in log
        assert json.loads(kept.read(held))["pid"] == os.getpid()
        mine.complete([row(7)], statistics={})
    assert kept.names("/2.json") == [held] == [name for name in kept.names() if ".lease" in name]
    assert [store_at(bucket).open(RECIPE.stage, RECIPE.key, number).rows for number in (0, 1)] == [4, 1]


def test_a_number_that_was_given_is_not_given_to_one_who_was_slow(bucket, machine, monkeypatch):
    def lease(name):
        return RemoteLease(Objects(bucket), "x/.lease", what="x", scratch=name, seconds=LEASE)

    def taken(slow_objects, name, data):  # two others come and go between its look and its request
        monkeypatch.undo()
        for other in (lease("second"), lease("third")):
            other.acquire()
            other.release()
        return slow_objects.create(name, data)

    monkeypatch.setattr(Objects, "create", taken)
    slow = lease("slow")
    slow.acquire()
    slow.release()
    assert slow.number == 2


def test_rows_of_an_unfinished_artifact_outlive_the_machine(bucket, machine):
    lost = machine("first")
    with pytest.raises(KeyboardInterrupt), store_at(bucket).write(RECIPE) as writer:
        journal = writer.journal()
        for number in range(3):
            journal.append({"n": number})
        raise KeyboardInterrupt
    shutil.rmtree(lost)
    machine("second")
    assert write(store_at(bucket), rows=5, files=0)[1] == [0, 1, 2]
    assert not [name for name in Keeper(bucket).names() if ".work" in name]


def test_replies_that_were_paid_for_outlive_the_machine(bucket, machine):
    lost = machine("first")
    with (
        ArtifactStore(bucket).shared_journals("replies") as folder,
        ReplyJournal(folder, writer="a-0") as paid,
    ):
        assert paid.claim("hash", by="oracle", worst=(1, 2))
        paid.put("hash", {"text": "dear"})
    shutil.rmtree(lost)
    machine("second")
    with (
        ArtifactStore(bucket).shared_journals("replies") as folder,
        ReplyJournal(folder, writer="a-0") as again,
    ):
        assert not again.claim("hash", by="oracle", worst=(1, 2))
        assert again.get("hash") == {"text": "dear"}
        assert again.own["oracle"] == [("hash", (1, 2))]


def test_a_lease_that_cannot_be_read_runs_out_as_any_other(bucket, machine):
    machine("first")
    Keeper(bucket).write(f"{RECIPE.stage}/{RECIPE.key}/.lease/4.json", b"{nonsense")
    assert write(ArtifactStore(bucket, lease_seconds=0.5), rows=1, files=0)[1] == []


def test_a_person_may_exchange_files_with_whichever_machine_is_at_work(bucket, machine):
    kept, beside = Keeper(bucket), f"{RECIPE.stage}/{RECIPE.key}"
    machine("first")
    with pytest.raises(KeyboardInterrupt), store_at(bucket).write(RECIPE) as writer:
        for name in ("logs/engine.log", "review/page.html"):
            (writer.folder.parent / name).parent.mkdir(exist_ok=True)
            (writer.folder.parent / name).write_text(name)
        raise KeyboardInterrupt
    assert kept.read(f"{beside}/logs/engine.log") == b"logs/engine.log"
    kept.write(f"{beside}/review/edits.jsonl", b"{}")
    machine("second")
    with store_at(bucket).write(RECIPE) as writer:
        review = writer.folder.parent / "review"
        assert (review / "page.html").read_text() == "review/page.html"
        (review / "edits.jsonl").rename(review / "taken.jsonl")
        writer.complete([row(1)], statistics={})
    assert [name.rpartition("/")[2] for name in kept.names() if "/review/" in name] == [
        "page.html",
        "taken.jsonl",
    ]


def test_what_is_complete_is_known_without_its_content_and_fetched_when_it_is_wanted(bucket, machine):
    write_to = machine("first")
    write(store_at(bucket), rows=3, files=2)
    shutil.rmtree(write_to)
    scratch = machine("second")
    artifact = store_at(bucket).get(RECIPE)
    assert artifact.hashes("extra").keys() == {"0.bin", "1.bin"}
    assert not [path for path in scratch.rglob("*") if path.is_file()]
    assert artifact.file("extra").joinpath("1.bin").read_bytes() == b"\1" * 100_000
    assert not list(scratch.rglob("*.parquet"))
    assert list(artifact.rows_as_dicts()) == [row(n) for n in range(3)]


def test_what_is_lost_between_being_found_and_being_read_is_an_error_and_made_again(bucket, machine):
    machine("first")
    write(store_at(bucket), rows=3, files=0)
    machine("second")
    artifact = store_at(bucket).get(RECIPE)
    kept = Keeper(bucket)
    (part,) = kept.names(".parquet")
    kept.write(part, b"x" * len(kept.read(part)))
    with pytest.raises(ArtifactError, match=r"does not match its hash.*run stage 'questions' again"):
        artifact.table()
    assert write(store_at(bucket), rows=3, files=0)[0] == artifact.digest
    assert store_at(bucket).get(RECIPE).rows == 3


@pytest.mark.parametrize("path", ["../../../escaped", "/tmp/escaped", "extra//x"])
def test_a_manifest_that_names_files_elsewhere_is_none(bucket, machine, path):
    machine("first")
    write(store_at(bucket), rows=3, files=1)
    kept = Keeper(bucket)
    (manifest,) = kept.names("manifest.json")
    document = json.loads(kept.read(manifest))
    document["files"][0]["path"] = path
    kept.write(manifest, json.dumps(document).encode())
    assert store_at(bucket).find(RECIPE) is None


def test_what_was_found_damaged_is_uploaded_anew_though_its_maker_was_killed_after_it_completed(
    bucket, machine
):
    scratch, kept = machine("first"), Keeper(bucket)
    with store_at(bucket).write(RECIPE) as writer:
        seal = writer._seal

        def killed_after(folder, manifest):
            sealed = seal(folder, manifest)
            shutil.copytree(writer.work, scratch / "work")
            return sealed

        writer._seal = killed_after
        writer.complete([row(1)], statistics={})
    shutil.copytree(scratch / "work", writer.work)
    (part,) = kept.names(".parquet")
    kept.write(part, b"x" * len(kept.read(part)))
    assert write(store_at(bucket), rows=1, files=0)
    machine("second")
    store = store_at(bucket)
    again = store.get(RECIPE)
    assert again.table().num_rows == 1
    assert store.manifest(RECIPE.stage, RECIPE.key, 0).created == again.manifest.created


def test_an_object_copied_as_it_was_is_no_damage(bucket, machine):
    machine("first")
    write(store_at(bucket), rows=3, files=0)
    kept = Keeper(bucket)
    (manifest,) = kept.names("manifest.json")
    document = json.loads(kept.read(manifest))
    document["etags"] = dict.fromkeys(document["etags"], "another bucket's")
    kept.write(manifest, json.dumps(document).encode())
    assert store_at(bucket).get(RECIPE).rows == 3


def test_a_completion_whose_answer_was_lost_is_taken_for_what_it_is(make_bucket, machine):
    location = f"s3://{make_bucket('lossy')}/spot"
    machine("first")
    digest, _ = write(store_at(location), rows=3, files=0)
    assert store_at(location).get(RECIPE).digest == digest
    assert len(Keeper(location).names(".parquet")) == 1


def test_a_store_without_conditional_writes_is_refused(make_bucket, machine):
    machine("first")
    with pytest.raises(ConfigError, match="ignores 'If-None-Match"):
        write(store_at(f"s3://{make_bucket('careless')}/spot"), rows=1, files=0)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "cannot be used.*AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "nonsense", "cannot be used.*AWS_ENDPOINT_URL"),
        ("AWS_ACCESS_KEY_ID", "stranger", "is not allowed.*AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_settings_are_told_with_what_to_set(bucket, monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    s3fs.S3FileSystem.clear_instance_cache()  # connections are kept; a new process reads the environment anew
    try:
        with pytest.raises(ConfigError, match=said) as refused:
            ArtifactStore(bucket).find(RECIPE)
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
    assert "spot-test-secret" not in str(refused.value)


def test_a_store_that_answered_before_and_does_not_now_is_away(bucket, monkeypatch):
    assert ArtifactStore(bucket).find(RECIPE) is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(StoreAwayError, match="What was done is kept"):
            ArtifactStore(bucket).find(RECIPE)
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(("word", "error"), [("failing", StoreAwayError), ("refusing", ArtifactError)])
def test_a_store_that_cannot_for_the_moment_is_told_from_one_that_will_not(make_bucket, word, error):
    objects = Objects(f"s3://{make_bucket(word)}/spot")
    objects.listing()
    with pytest.raises(ArtifactError) as raised:
        objects.write("x.bin", b"x")
    assert type(raised.value) is error


def test_a_bucket_that_does_not_exist_is_told(s3_server, machine):
    machine("first")
    with pytest.raises(ConfigError, match="there is no such bucket"):
        ArtifactStore("s3://missing/spot").find(RECIPE)
