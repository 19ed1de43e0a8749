"""Artifacts are found by what they were made from, whole or not at all, with one writer at a time."""

import json
import multiprocessing
import time

import pyarrow.parquet as pq
import pytest

from spot_core.errors import ArtifactError, ConfigError
from spot_core.store import Artifact, ArtifactStore, Recipe, schemas
from spot_core.store.writer import ROWS_PER_PART
from tests.spot_core.store.writing import RECIPE, row


def make(store: ArtifactStore, count: int = 3, *, recipe: Recipe = RECIPE, at_least: int = 0) -> Artifact:
    with store.write(recipe, at_least=at_least) as writer:
        assert not isinstance(writer, Artifact)
        writer.complete([row(n) for n in range(count)], statistics={"n": count})
    return store.get(recipe, at_least=at_least)


def test_a_complete_artifact_is_found_and_reads_back(location):
    store = ArtifactStore(location)
    assert store.find(RECIPE) is None
    made = make(store)
    found = ArtifactStore(location).get(RECIPE)
    assert found.digest == made.digest
    assert list(found.rows_as_dicts()) == [row(n) for n in range(3)]
    assert pq.read_schema(found.parts[0]).equals(schemas.QUESTIONS)
    assert found.statistics == {"n": 3}
    assert not (found.folder / ".work").exists()


@pytest.mark.parametrize(
    "other",
    [
        Recipe("questions", {"kind": "other"}, {"source": "0" * 64}, 1),
        Recipe("questions", {"kind": "test"}, {"source": "1" * 64}, 1),
        Recipe("questions", {"kind": "test"}, {"source": "0" * 64}, 2),
    ],
)
def test_any_difference_in_the_recipe_is_another_key(location, other):
    make(ArtifactStore(location))
    assert ArtifactStore(location).find(other) is None


def test_equal_content_has_equal_bytes_and_digest_whatever_the_recipe(location):
    store = ArtifactStore(location)
    other = Recipe("questions", {"kind": "other"}, {}, 7)
    assert make(store).digest == make(store, recipe=other).digest


def test_many_rows_become_parts_of_fixed_size(location):
    artifact = make(ArtifactStore(location), ROWS_PER_PART + 5)
    assert [part.rows for part in artifact.manifest.parts] == [ROWS_PER_PART, 5]
    assert sum(batch.num_rows for batch in artifact.batches()) == ROWS_PER_PART + 5


def test_an_artifact_without_rows_is_an_artifact(location):
    artifact = make(ArtifactStore(location), 0)
    assert artifact.rows == 0
    assert artifact.table().num_rows == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_part_is_noticed_set_aside_and_made_again(location, kept, caplog, damage):
    made = make(ArtifactStore(location))
    (part,) = kept.names(".parquet")
    content = kept.read(part)
    match damage:
        case "flip":
            kept.write(part, content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "cut":
            kept.write(part, content[:-20])
        case "remove":
            kept.remove(part)
    assert ArtifactStore(location).find(RECIPE) is None
    assert part in caplog.text
    again = make(ArtifactStore(location))
    assert again.digest == made.digest
    assert list(again.rows_as_dicts()) == [row(n) for n in range(3)]
    assert "set aside" in caplog.text
    assert [name for name in kept.names() if "damaged-0" in name]
    assert ArtifactStore(location).damage(again.folder) is None


def test_a_half_written_manifest_does_not_count_and_is_made_again(location, kept):
    make(ArtifactStore(location))
    (manifest,) = kept.names("manifest.json")
    kept.write(manifest, kept.read(manifest)[:-30])
    assert ArtifactStore(location).find(RECIPE) is None
    assert make(ArtifactStore(location)).rows == 3


def test_a_folder_without_manifest_is_resumed(location):
    store = ArtifactStore(location)
    with pytest.raises(KeyboardInterrupt), store.write(RECIPE) as writer:
        writer.journal().append({"n": 1})
        raise KeyboardInterrupt
    with store.write(RECIPE) as writer:
        assert list(writer.journal()) == [{"n": 1}]


def test_a_refresh_writes_the_next_generation_and_keeps_the_old_one(location):
    store = ArtifactStore(location)
    old = make(store, 3)
    target = store.next_generation(RECIPE)
    assert target == 1
    assert store.find(RECIPE, at_least=target) is None
    new = make(store, 4, at_least=target)
    assert store.get(RECIPE).generation == new.generation == 1
    assert store.open(RECIPE.stage, RECIPE.key, 0).digest == old.digest
    assert new.digest != old.digest


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"question": None}, "'question'"),
        ({"question": 5}, "does not fit"),
        ({"question": "\ud800"}, "does not fit"),
        ({"extra": 1}, "extra"),
    ],
)
def test_rows_that_do_not_fit_the_schema_are_refused(location, bad, said):
    with pytest.raises(ArtifactError, match=said), ArtifactStore(location).write(RECIPE) as writer:
        writer.complete([row(0) | bad], statistics={})
    assert ArtifactStore(location).find(RECIPE) is None


def test_a_store_on_this_machine_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        ArtifactStore(tmp_path / "file")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket/x", "credentials by environment"),
        ("s4://bucket/x", "s3://bucket/folder"),
        ("gs://bucket/x", "needs the package gcsfs: .venv/bin/uv pip install"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_a_remedy(address, said):
    with pytest.raises(ConfigError, match=said) as refused:
        ArtifactStore(address)
    assert "secret@" not in str(refused.value)


def test_another_package_version_is_a_warning_not_a_new_key(location, kept, caplog):
    make(ArtifactStore(location))
    (manifest,) = kept.names("manifest.json")
    document = json.loads(kept.read(manifest))
    document["packages"]["pyarrow"] = "0.0.1"
    kept.write(manifest, json.dumps(document).encode())
    assert ArtifactStore(location).find(RECIPE) is not None
    assert "pyarrow 0.0.1" in caplog.text


def _write_slowly(root: str, seconds: float, results) -> None:
    with ArtifactStore(root).write(RECIPE) as slot:
        if isinstance(slot, Artifact):
            results.put("reused")
            return
        time.sleep(seconds)
        slot.complete([row(0)], statistics={})
        results.put("made")


def test_two_writers_of_one_key_make_it_once(location):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    writers = [context.Process(target=_write_slowly, args=(location, 1.0, results)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(results.get(timeout=5) for _ in writers) == ["made", "reused"]


def _hold(root: str, holding) -> None:
    with ArtifactStore(root).write(RECIPE) as writer:
        writer.journal().append({"n": 1})
        holding.set()
        time.sleep(600)


def test_a_killed_writer_frees_its_lease_and_leaves_its_journal(location):
    context = multiprocessing.get_context("spawn")
    holding = context.Event()
    writer = context.Process(target=_hold, args=(location, holding))
    writer.start()
    assert holding.wait(60)
    writer.kill()
    writer.join(10)
    with ArtifactStore(location).write(RECIPE) as mine:
        assert list(mine.journal()) == [{"n": 1}]
