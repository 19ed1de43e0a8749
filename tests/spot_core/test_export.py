"""Exported pairs are those of the artifact, in a folder that `datasets` and TRL take as it is."""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from spot_cli.main import app
from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.demo.chains import draw_chain, slipped_values, values_after, write_response
from spot_core.errors import ArtifactError, ConfigError, SpotError
from spot_core.export import Form, export_pairs
from spot_core.rectification.measures import Measures
from spot_core.rectification.statistics import statistics
from spot_core.runs import Run
from spot_core.store import Artifact, Recipe, schemas

Row = dict[str, Any]
HOSTILE = "a\u2028b\x00 <script> | \u202e *c* --- ünï\r\n\ttab 🦊 {question}"
FORMS: tuple[Form, ...] = ("trl", "jsonl")


def filled(row: Row) -> Row:
    """A row of the rectify schema: what is not given is null, empty or 0."""
    blank = {"list": [], "string": "", "double": 0.0}
    kinds = {field.name: str(field.type).partition("<")[0] for field in schemas.RECTIFY if not field.nullable}
    return dict.fromkeys(schemas.RECTIFY.names) | {n: blank.get(k, 0) for n, k in kinds.items()} | row


def pair(number: int, *, status: str = "accepted", **given: Any) -> Row:
    """A failure, its edit, and what became of it."""
    row = {
        "question_id": f"{number:016x}",
        "question": f"What is {number} + 1?",
        "answer": str(number + 1),
        "prompt_token_ids": [1, number],
        "response": f"It is {number}.",
        "response_token_ids": [2, 3],
        "rectified": f"It is {number + 1}.",
        "rectified_token_ids": [2, 4, 9],
        "status": status,
        "change_ratio": 0.25,
        "shared_prefix_tokens": 1,
        "edit_regions": 1,
        "oracle": "calculator",
    }
    return filled(row | given)


def run_with(folder: Path, rows: list[Row], **overrides: Any) -> tuple[Run, Artifact]:
    """A run of the demo whose rectify stage ended with ``rows``."""
    run = Run.create(SpotConfig.from_profile("demo", store=str(folder / "store"), **overrides), "one")
    recipe = Recipe("rectify", {"n": len(rows)}, {"filter": "f1173r", "model": "40de1"}, 1)
    with run.store.write(recipe) as writer:
        writer.complete(rows, statistics=statistics(Measures.of_rows(rows), gamma=0.6))
    artifact = run.store.get(recipe)
    run.use("rectify", artifact, reused=False)
    return run, artifact


def loaded(folder: Path) -> datasets.Dataset:
    """What a user gets: nothing is known but the folder."""
    cache = folder.parent / "cache"
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize("form", FORMS)
def test_accepted_pairs_and_no_others_come_back_as_they_were(form, tmp_path):
    rows = [
        pair(0),
        pair(1, status="wrong_answer"),
        pair(2, response=HOSTILE, rectified=HOSTILE + "!", question=HOSTILE, flags=["retokenized"]),
        pair(3, status="flagged"),
        pair(4, status="refused", rectified=None, rectified_token_ids=None, change_ratio=None),
        pair(5, sample=7, oracle="some/teacher", change_ratio=0.1 + 0.2),
    ]
    run, _ = run_with(tmp_path, rows, prompt={"template": "Q: {question}\nThink."})
    done = export_pairs(run, tmp_path / "out", form=form)
    assert done.pairs == 3
    assert loaded(done.folder).to_list() == [
        {
            "question_id": row["question_id"],
            "sample": row["sample"],
            "question": row["question"],
            "answer": row["answer"],
            "change_ratio": row["change_ratio"],
            "oracle": row["oracle"],
            "flags": row["flags"],
            "prompt": [message("user", f"Q: {row['question']}\nThink.")],
            "chosen": [message("assistant", row["rectified"])],
            "rejected": [message("assistant", row["response"])],
        }
        for row in rows
        if row["status"] == "accepted"
    ]


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(st.tuples(st.text(), st.text(min_size=1)), min_size=1, max_size=5),
    form=st.sampled_from(FORMS),
)
def test_any_text_survives(texts, form, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    rows = [pair(n, response=response, rectified=edit) for n, (response, edit) in enumerate(texts)]
    found = loaded(export_pairs(run_with(folder, rows)[0], folder / "out", form=form).folder)
    assert [(r["rejected"][0]["content"], r["chosen"][0]["content"]) for r in found] == texts


def test_both_forms_have_the_same_types_also_where_every_list_is_empty(tmp_path):
    run, _ = run_with(tmp_path, [pair(0)])
    found = [loaded(export_pairs(run, tmp_path / form, form=form).folder).features for form in FORMS]
    assert found[0] == found[1]
    assert found[0]["flags"].feature.dtype == "string"


@pytest.mark.parametrize("form", FORMS)
def test_the_prompt_is_the_whole_conversation_with_the_options_of_its_template(form, tmp_path):
    options = {"enable_thinking": False, "tools_in_user_message": True, "date": "1 Jan"}
    run, _ = run_with(
        tmp_path,
        [pair(0)],
        prompt={"system": "Be brief.", "examples": [{"question": "1 + 1?", "answer": "2"}]},
        model={"chat_template_kwargs": options},
    )
    (row,) = loaded(export_pairs(run, tmp_path / "out", form=form).folder)
    assert row["prompt"] == [
        message("system", "Be brief."),
        message("user", "1 + 1?"),
        message("assistant", "2"),
        message("user", "What is 0 + 1?"),
    ]
    assert row["chat_template_kwargs"] == options


@pytest.mark.parametrize("form", FORMS)
def test_the_policys_token_ids_come_along_if_asked_for(form, tmp_path):
    run, _ = run_with(tmp_path, [pair(0), pair(300)])
    rows = loaded(export_pairs(run, tmp_path / "out", form=form, token_ids=True).folder)
    assert [row["prompt_token_ids"] for row in rows] == [[1, 0], [1, 300]]
    assert rows[0]["chosen_token_ids"] == [2, 4, 9]
    assert rows[0]["rejected_token_ids"] == [2, 3]
    assert "*_token_ids" in (tmp_path / "out" / "README.md").read_text()


def test_large_exports_have_row_groups_and_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr("spot_core.store.writer.ROWS_PER_GROUP", 10)
    monkeypatch.setattr("spot_core.store.writer.ROWS_PER_PART", 30)
    run, _ = run_with(tmp_path, [pair(n, status="accepted" if n % 3 else "unchanged") for n in range(150)])
    done = export_pairs(run, tmp_path / "out")
    parts = sorted(done.folder.glob("*.parquet"))
    assert [part.name for part in parts] == [f"train-{n:05d}.parquet" for n in range(4)]
    assert [pq.ParquetFile(part).num_row_groups for part in parts] == [3, 3, 3, 1]
    assert loaded(done.folder)["question"] == [f"What is {n} + 1?" for n in range(150) if n % 3]


def test_the_card_says_where_the_pairs_come_from_and_nothing_about_this_machine(tmp_path):
    model = tmp_path / "models" / "my-policy"
    rows = [pair(0), pair(1, oracle="strong|teacher"), pair(2, status="too_different", change_ratio=0.9)]
    run, artifact = run_with(
        tmp_path,
        rows,
        model={"path": str(model)},
        questions={"kind": "file", "path": str(tmp_path / "data" / "exam.jsonl")},
        rectify={"gamma": 0.5},
    )
    text = (export_pairs(run, tmp_path / "out").folder / "README.md").read_text()
    plain = text.replace("\\", "")
    for said in ("my-policy", "exam.jsonl", artifact.digest, artifact.key, "f1173r", "40de1", "calculator"):
        assert said in plain
    assert "| too_different | 1 |" in plain
    assert "| change ratio R, mean | 0.25 |" in plain
    assert "| edits by strong|teacher | 1 |" in plain
    assert str(tmp_path) not in plain
    assert os.environ.get("HOME", "/root") not in plain
    card = DatasetCard(text)
    assert card.data.size_categories == ["n<1K"]
    assert "base_model" not in card.data.to_dict()


def test_a_policy_of_the_hub_is_named_as_the_base_model(tmp_path):
    run, _ = run_with(tmp_path, [pair(0)], model={"path": "Qwen/Qwen3-8B"})
    card = DatasetCard.load(export_pairs(run, tmp_path / "out").folder / "README.md")
    assert card.data.to_dict()["base_model"] == "Qwen/Qwen3-8B"


def test_the_same_pairs_give_the_same_bytes_and_replace_an_earlier_export(tmp_path):
    run, _ = run_with(tmp_path, [pair(0), pair(1)])

    def exported(**options: Any) -> dict[str, bytes]:
        folder = export_pairs(run, tmp_path / "out", **options).folder
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = exported()
    assert exported(form="jsonl").keys() == {"train.jsonl", "README.md", "export.json"}
    assert exported() == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    run, _ = run_with(tmp_path, [pair(0)])
    thesis = tmp_path / "out" / "chapters" / "one.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("so far")
    with pytest.raises(ConfigError, match="no export wrote"):
        export_pairs(run, tmp_path / "out")
    (tmp_path / "out" / "export.json").write_text("[]")
    with pytest.raises(ConfigError, match="no export wrote"):
        export_pairs(run, tmp_path / "out")
    done = export_pairs(run, tmp_path / "other")
    (done.folder / "notes.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.md"):
        export_pairs(run, done.folder)
    assert (thesis.read_text(), (done.folder / "notes.md").read_text()) == ("so far", "mine")
    with pytest.raises(ConfigError, match="is a file"):
        export_pairs(run, thesis)


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch):
    run, _ = run_with(tmp_path, [pair(0)])
    before = export_pairs(run, tmp_path / "out").folder
    parquet = (before / "train-00000.parquet").read_bytes()

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spot_core.export.write_atomically", no_space)
    with pytest.raises(ConfigError, match="No space left"):
        export_pairs(run, tmp_path / "out")
    assert (before / "train-00000.parquet").read_bytes() == parquet
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_a_run_without_pairs_says_why_there_are_none(tmp_path):
    config = SpotConfig.from_profile("demo", store=str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="'rectify' is not complete"):
        export_pairs(Run.create(config, "one"), tmp_path / "out")
    run, _ = run_with(tmp_path, [pair(0, status="too_different"), pair(1, status="refused")])
    with pytest.raises(ConfigError, match="of 2 failures became 1 refused, 1 too_different"):
        export_pairs(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pairs_that_are_gone_or_damaged_are_not_exported(tmp_path):
    run, artifact = run_with(tmp_path, [pair(0)])
    part = artifact.parts[0]
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="damaged"):
        export_pairs(run)
    (artifact.folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="run stage 'rectify' again"):
        export_pairs(run)


def test_the_command_exports_a_run_and_refuses_one_that_does_not_exist(tmp_path):
    run, _ = run_with(tmp_path, [pair(0), pair(1)])
    store = str(tmp_path / "store")
    done = CliRunner().invoke(
        app, ["export", "one", "--store", store, "--format", "jsonl"], catch_exceptions=False
    )
    assert done.exit_code == 0
    folder = run.folder / "export" / "jsonl"
    assert done.output.strip() == f"2 pairs in {folder}"
    assert [json.loads(line)["sample"] for line in (folder / "train.jsonl").read_text().splitlines()] == [
        0,
        0,
    ]
    with pytest.raises(SpotError, match=r"no such run.*latest runs: one"):
        CliRunner().invoke(app, ["export", "two", "--store", store], catch_exceptions=False)


def test_dpotrainer_trains_on_it_with_the_tokens_that_the_policy_samples(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    tokenizer, rng = AutoTokenizer.from_pretrained(STUDENT_PATH), Random(0)
    rows = []
    while len(rows) < 8:
        chain = draw_chain(rng, 3)
        right, wrong = values_after(chain.start, chain.steps), slipped_values(rng, chain, 0.9)
        if wrong != right:
            y = [write_response(chain, values) for values in (wrong, right)]
            ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in y]
            asked = tokenizer.apply_chat_template(
                [message("user", chain.question)], add_generation_prompt=True, return_dict=False
            )
            rows.append(
                pair(
                    len(rows),
                    question=chain.question,
                    response=y[0],
                    rectified=y[1],
                    prompt_token_ids=asked,
                    response_token_ids=ids[0],
                    rectified_token_ids=ids[1],
                )
            )
    run, _ = run_with(tmp_path, rows)
    pairs = loaded(export_pairs(run, tmp_path / "out", token_ids=True).folder)
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(STUDENT_PATH),
        args=DPOConfig(
            output_dir=str(tmp_path / "trained"),
            max_steps=2,
            per_device_train_batch_size=4,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            dataloader_pin_memory=False,
        ),
        train_dataset=pairs,
        processing_class=tokenizer,
    )
    for theirs, ours in zip(trainer.train_dataset, rows, strict=True):
        assert theirs["prompt_ids"] == ours["prompt_token_ids"]
        # TRL goes on with what the template writes after the end of turn, as the card says.
        after = tokenizer("\n", add_special_tokens=False)["input_ids"]
        assert theirs["chosen_ids"] == ours["rectified_token_ids"] + after
        assert theirs["rejected_ids"] == ours["response_token_ids"] + after
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)  # ln 2: π_θ is still π_ref
    assert losses[1] != losses[0]
