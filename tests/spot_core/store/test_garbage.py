"""What no run refers to is found and removed; everything else stays."""

import time
from contextlib import contextmanager

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.runs import Run, used_artifacts
from spot_core.store import Artifact, ArtifactStore, Recipe
from spot_core.store.garbage import find_garbage, remove_garbage
from spot_core.store.s3.lease import Holder
from tests.spot_core.store.writing import RECIPE, row, start
from tests.stores import Keeper

LATER = 2 * 3600.0
MONTHS = 100 * 86_400.0
LEASE = 3.0


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
    assert not [name for name in kept.names() if recipe("unused").key in name and ".lease/" not in name]
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


def test_what_a_run_began_to_use_while_others_were_removed_stays(run, monkeypatch):
    names = sorted(("a", "b", "c"), key=lambda name: recipe(name).key)
    made = {name: make(run.store, name) for name in names}
    now, asked = time.time() + LATER, []
    try_lease = run.store.backend.try_lease

    @contextmanager
    def noted_meanwhile(stage, key, **options):
        with try_lease(stage, key, **options) as held:
            if key == recipe(names[1]).key:
                run.use("questions", made[names[1]], reused=True)
            yield held

    def used():
        asked.append(used_artifacts(run.store))
        return asked[-1]

    found = find_garbage(run.store, used_artifacts(run.store), now=now)
    monkeypatch.setattr(run.store.backend, "try_lease", noted_meanwhile)
    removed, _ = remove_garbage(run.store, found, used, now=now)
    assert [garbage.place.key for garbage in removed] == [recipe(names[0]).key, recipe(names[2]).key]
    assert run.store.get(recipe(names[1])).rows == 1
    assert len(asked) == 2  # once, and again for the change


def test_unfinished_work_of_a_killed_machine_goes_and_that_of_one_alive_stays(bucket, tmp_path):
    kept, store = Keeper(bucket), ArtifactStore(bucket, lease_seconds=LEASE)
    kept.write(f"{RECIPE.stage}/{RECIPE.key}/0/.work/rows.jsonl/piece", b"of an earlier attempt")
    elsewhere = tmp_path / "elsewhere"
    process = start(elsewhere, location=bucket, rows=1, files=0, lease=LEASE, go=str(tmp_path / "never"))
    while not kept.names("/0.json"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    try:
        now = time.time() + MONTHS  # whatever this machine's clock says
        found = find_garbage(store, set(), now=now)
        removed, busy = remove_garbage(store, found, set, now=now)
        assert (removed, [place.key for place in busy]) == ([], [RECIPE.key])
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    removed, busy = remove_garbage(store, found, set, now=now)
    assert busy == []
    assert {garbage.why for garbage in removed} == {"unfinished"}
    assert not kept.names("/piece")
    assert find_garbage(store, set(), now=now) == []


def test_leases_of_the_dead_are_watched_all_at_once(bucket):
    kept, count = Keeper(bucket), 8
    for number in range(count):
        place = f"questions/{recipe(str(number)).key}"
        kept.write(f"{place}/0/.work/rows.jsonl/piece", b"")
        dead = Holder(token=str(number), scratch="another machine", seconds=LEASE)
        kept.write(f"{place}/.lease/5.json", dead.model_dump_json().encode())
    store, now, began = ArtifactStore(bucket), time.time() + MONTHS, time.monotonic()
    removed, busy = remove_garbage(store, find_garbage(store, set(), now=now), set, now=now)
    assert (len(removed), busy) == (count, [])
    assert LEASE < time.monotonic() - began < count * LEASE
    assert len(kept.names("/6.json")) == count


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
