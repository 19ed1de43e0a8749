"""A model that cannot be used is refused by name, with what is wrong and what would help."""

import json
import shutil

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from spot_core import models
from spot_core.config.model import ModelConfig
from spot_core.demo import STUDENT_PATH
from spot_core.errors import InputError
from spot_core.models import fingerprint, load_tokenizer, resolve_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "CACHE", tmp_path / "cache")


@pytest.fixture
def student(tmp_path):
    """A copy of the demo student that a test may break."""
    return shutil.copytree(STUDENT_PATH, tmp_path / "student")


def rewrite(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_the_demo_student_is_found_by_name():
    assert resolve_model(ModelConfig(path="demo-student")) == STUDENT_PATH


def test_a_folder_is_found_by_its_path(student):
    assert resolve_model(ModelConfig(path=str(student))) == student


@pytest.mark.parametrize("name", ["./nothing", "/nowhere/at/all", "~/nothing-of-this-name"])
def test_a_folder_that_does_not_exist_is_refused(name):
    with pytest.raises(InputError, match=r"model\.path.*does not exist.*Hugging Face"):
        resolve_model(ModelConfig(path=name))


def test_a_folder_without_a_config_is_refused(student):
    (student / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve_model(ModelConfig(path=str(student)))


def test_a_file_in_place_of_a_folder_is_refused(student):
    with pytest.raises(InputError, match=r"model\.path"):
        resolve_model(ModelConfig(path=str(student / "config.json")))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LocalEntryNotFoundError("no network"), "hub could not be reached"),
        (HFValidationError("bad"), "neither"),
    ],
)
def test_a_name_that_the_hub_does_not_give_is_refused(monkeypatch, error, said):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=said):
        resolve_model(ModelConfig(path="nobody/no-such-model"))


def test_a_model_on_the_hub_is_not_downloaded_for_a_dry_run(monkeypatch):
    def only_local(*_, local_files_only, **__):
        assert local_files_only
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", only_local)
    assert resolve_model(ModelConfig(path="nobody/no-such-model"), download=False) is None


# --- tokenizer ------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_chat_template_is_refused(student):
    (student / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match=r"no chat template.*instruct model"):
        load_tokenizer(student)


def test_a_tokenizer_without_end_of_turn_token_is_refused(student):
    rewrite(student / "tokenizer_config.json", lambda config: config.pop("eos_token"))
    with pytest.raises(InputError, match="end-of-turn token"):
        load_tokenizer(student)


@pytest.mark.parametrize("content", [None, "", "{ broken", '{"version": "1.0"}'])
def test_a_missing_or_broken_tokenizer_is_refused(student, content):
    if content is None:
        (student / "tokenizer.json").unlink()
    else:
        (student / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="tokenizer"):
        load_tokenizer(student)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_broken_json_beside_the_tokenizer_is_refused(student, name):
    (student / name).write_text("{ broken")
    with pytest.raises(InputError, match=str(student)):
        load_tokenizer(student)


# --- fingerprint ----------------------------------------------------------------------------------------------


def test_a_folder_without_weights_is_refused(student):
    (student / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        fingerprint(student)


def test_the_fingerprint_does_not_depend_on_place_or_time(student):
    assert fingerprint(student) == fingerprint(STUDENT_PATH)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"],
)
def test_every_file_that_decides_an_answer_is_in_the_fingerprint(student, name):
    before = fingerprint(student)
    content = (student / name).read_bytes()
    (student / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert fingerprint(student) != before


def test_a_readme_is_not_in_the_fingerprint(student):
    before = fingerprint(student)
    (student / "README.md").write_text("other")
    assert fingerprint(student) == before


def test_hashes_of_unchanged_files_are_remembered(student, monkeypatch):
    before = fingerprint(student)
    monkeypatch.setattr(models, "file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert fingerprint(student) == before


def test_an_unreadable_memory_of_hashes_is_made_anew(student):
    before = fingerprint(student)
    (models.CACHE / "file-hashes.json").write_text("{ broken")
    assert fingerprint(student) == before
