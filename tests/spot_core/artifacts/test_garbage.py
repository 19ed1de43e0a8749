"""What no run refers to is found and removed; everything else stays."""

import time

import pytest

from spot_core.artifacts import Artifact, ArtifactStore, Recipe
from spot_core.artifacts.garbage import find_garbage, remove_garbage
from spot_core.config.spot import SpotConfig
from spot_core.runs import Run, used_artifacts
from tests.spot_core.artifacts.writing import row

LATER = 2 * 3600.0
MONTHS = 100 * 86_400.0


def recipe(name):
    return Recipe("questions", {"kind": name}, {}, 1)


def make(store, name, *, at_least=0):
    with store.write(recipe(name), at_least=at_least) as writer:
        assert not isinstance(writer, Artifact)
        writer.complete([row(1)], statistics={})
    return store.get(recipe(name), at_least=at_least)


def leave_unfinished(store, name):
    with pytest.raises(KeyboardInterrupt), store.write(recipe(name)) as writer:
        writer.journal().append({"n": 1})
        raise KeyboardInterrupt


def collect(store, *, after):
    used, now = used_artifacts(store), time.time() + after
    found = find_garbage(store, used, now=now)
    removed, busy = remove_garbage(store, found, lambda: used, now=now)
    assert busy or sorted(removed, key=str) == sorted(found, key=str)
    assert busy or not find_garbage(store, used, now=now)
    return sorted({(garbage.place.key, garbage.what, garbage.why) for garbage in removed})


@pytest.fixture
def run(location):
    return Run.create(SpotConfig.from_profile("demo", store=location), "one")


def test_what_a_run_uses_stays_and_other_generations_and_artifacts_go(run, location, kept):
    store = run.store
    make(store, "used")
    new = make(store, "used", at_least=1)
    run.use("questions", new, reused=False)
    make(store, "unused")
    assert collect(store, after=LATER) == sorted(
        [(recipe("used").key, "0", "no run uses it"), (recipe("unused").key, "0", "no run uses it")]
    )
    assert list(ArtifactStore(location).open("questions", new.key, 1).rows_as_dicts()) == [row(1)]
    assert not [name for name in kept.names() if recipe("unused").key in name]
    assert Run.open(location, "one").record.used


def test_what_was_just_completed_stays_for_the_run_that_is_about_to_note_it(run):
    make(run.store, "fresh")
    assert collect(run.store, after=60.0) == []


def test_unfinished_work_stays_for_its_days(run):
    leave_unfinished(run.store, "unfinished")
    assert collect(run.store, after=LATER) == []
    with run.store.write(recipe("unfinished")) as writer:
        assert list(writer.journal()) == [{"n": 1}]
        writer.close()
    removed = collect(run.store, after=MONTHS)
    assert (recipe("unfinished").key, "0", "unfinished") in removed


def test_what_is_being_written_is_left_alone(run, location):
    make(run.store, "busy")
    with run.store.write(recipe("busy"), at_least=1) as writer:
        store = ArtifactStore(location)
        now = time.time() + LATER
        found = find_garbage(store, set(), now=now)
        assert [garbage.what for garbage in found] == ["0"]
        removed, busy = remove_garbage(store, found, set, now=now)
        assert removed == []
        assert [place.key for place in busy] == [recipe("busy").key]
        writer.complete([row(2)], statistics={})
    assert store.open("questions", recipe("busy").key, 0).rows == 1


def test_what_a_run_began_to_use_after_it_was_listed_stays(run):
    made = make(run.store, "late")
    now = time.time() + LATER
    found = find_garbage(run.store, used_artifacts(run.store), now=now)
    run.use("questions", made, reused=True)
    assert remove_garbage(run.store, found, lambda: used_artifacts(run.store), now=now) == ([], [])
    assert run.store.get(recipe("late")).rows == 1


def test_damaged_artifacts_that_were_set_aside_go(run, kept):
    make(run.store, "damaged")
    (part,) = kept.names(".parquet")
    kept.write(part, b"nonsense")
    again = make(ArtifactStore(run.store.location), "damaged")
    run.use("questions", again, reused=False)
    ((_, _, why),) = collect(run.store, after=LATER)
    assert why in ("damaged", "left over")
    assert len(kept.names(".parquet")) == 1
    assert ArtifactStore(run.store.location).get(recipe("damaged")).rows == 1
