"""Names of runs, and records that somebody edited, lead nowhere outside of the store."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spot_core.config.spot import EvaluationSet, SpotConfig, valid_run_name
from spot_core.errors import ArtifactError, ConfigError
from spot_core.runs import Run
from spot_core.store import ArtifactStore, Recipe
from spot_core.store.manifest import FileEntry, file_sha256, read_manifest

HOSTILE = ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a/b", "a\\b", "..\\x", "a\0b", "..%2f", "a\n", "\na", "a b",
           "a..b", "\u2025\u2025/x", "\uff0e\uff0e", "\u2024\u2024", "~", "~root", "$HOME", "a:b", "x" * 101, "-rf", ".git"]  # fmt: skip
PATHS = [
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../x",
    "..",
    ".",
    "",
    "a//b",
    "a\\..\\..\\x",
    "a/.",
    "x\0.parquet",
]


@given(st.text(max_size=120) | st.sampled_from(HOSTILE))
@example("a.b-c_1")
@example("ok\n")
def test_a_name_is_refused_or_is_one_folder_of_the_runs(name: str):
    runs = Path("/store/runs")
    try:
        valid_run_name(name)
    except ConfigError:
        return
    assert (runs / name).resolve().parent == runs
    assert name.isascii()
    assert name.isprintable()
    assert name not in HOSTILE


@pytest.mark.parametrize("name", HOSTILE)
def test_no_run_of_a_hostile_name_is_made_or_opened(tmp_path: Path, name: str):
    store = tmp_path / "inside" / "store"
    with pytest.raises(ConfigError, match="run_name"):
        Run.create(SpotConfig.from_profile("demo", store=str(store)), name)
    with pytest.raises(ConfigError, match="run_name"):
        Run.open(store, name)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", [*HOSTILE, "x" * 65])
def test_no_data_set_has_a_hostile_name(name: str):
    demo = SpotConfig.from_profile("demo").questions
    with pytest.raises(ValueError, match="name"):
        EvaluationSet(name=name, questions=demo) if name != "a..b" else EvaluationSet(
            name="/a..b", questions=demo
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run_name", "../../../etc"),
        ("run_name", "/etc"),
        *(("stage", value) for value in ("../../etc", "/etc", "..", "runs/../..", "")),
        *(
            ("key", value)
            for value in ("../../etc", "/etc", "..", "", "0123456789abcdef/..", "0123456789ABCDEF\n")
        ),
        ("generation", -1),
    ],
)
def test_a_run_record_that_was_edited_to_lead_elsewhere_is_refused(
    tmp_path: Path, field: str, value: str | int
):
    run = Run.create(SpotConfig.from_profile("demo", store=str(tmp_path / "store")), "one")
    path = run.folder / "run.json"
    record = json.loads(path.read_text())
    used = {"stage": "filter", "key": "0123456789abcdef", "generation": 0, "digest": "", "rows": 1, "seconds": 1.0,
            "reused": False}  # fmt: skip
    record["used"]["filter"] = used
    path.write_text(json.dumps(record))
    assert Run.open(tmp_path / "store", "one").record.used["filter"].stage == "filter"
    if field == "run_name":
        record["run_name"] = value
    else:
        used[field] = value
    path.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"run\.json"):
        Run.open(tmp_path / "store", "one")


@pytest.mark.parametrize("path", PATHS)
def test_no_entry_of_a_manifest_leads_out_of_its_artifact(path: str):
    with pytest.raises(ValueError, match="no path of a file within"):
        FileEntry(path=path, bytes=1, sha256="")


@pytest.mark.parametrize("way", ["relative", "absolute"])
def test_an_artifact_whose_manifest_was_edited_to_name_another_file_is_not_used(tmp_path: Path, way: str):
    store, recipe = ArtifactStore(tmp_path / "store"), Recipe("filter", {"a": 1}, {}, 1)
    folder = tmp_path / "store" / "filter" / recipe.key / "0"
    folder.mkdir(parents=True)
    outside = tmp_path / "secret.parquet"
    outside.write_bytes(b"PAR1 of somebody else")
    named = "../../../../secret.parquet" if way == "relative" else str(outside)
    assert (folder / named).resolve() == outside
    entry = {"path": named, "bytes": outside.stat().st_size, "sha256": file_sha256(outside), "rows": 1}
    manifest = {
        "stage": "filter", "key": recipe.key, "generation": 0, "settings": {"a": 1}, "inputs": {}, "code_version": 1,
        "digest": "", "rows": 1, "parts": [entry], "files": [], "schema_version": 1, "packages": {}, "created": "",
        "seconds": 1.0, "statistics": {},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="within the artifact"):
        read_manifest(folder)
    assert store.find(recipe) is None
    manifest["parts"][0]["path"] = "part-00000.parquet"
    (folder / "part-00000.parquet").write_bytes(outside.read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert store.find(recipe) is not None
