"""How the policy's turns end, read from tokenizer, chat template and generation_config.json."""

import json
from pathlib import Path

import pytest

from spot_core.config.model import ModelConfig, PromptConfig
from spot_core.inference.prompts import PromptRenderer, TurnEnd
from tests.twin import NAMED, WRITTEN, write_twin


def turn_end(folder: Path) -> TurnEnd:
    return PromptRenderer(folder, ModelConfig(path=str(folder)), PromptConfig()).turn_end


def test_a_turn_ends_as_the_template_writes_it_where_sampling_ends(tmp_path, caplog):
    folder = write_twin(tmp_path / "twin")
    end = turn_end(folder)
    assert end == TurnEnd(frozenset({WRITTEN, NAMED}), written=WRITTEN)
    assert (end.of([5, WRITTEN]), end.of([5, NAMED]), end.of([5]), end.of([])) == (WRITTEN, NAMED, None, None)
    assert not caplog.text


@pytest.mark.parametrize("behind", ["", "<|pad|>"])
def test_a_template_that_writes_no_end_leaves_the_tokenizers_and_says_so(tmp_path, caplog, behind):
    folder = write_twin(tmp_path / "twin")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", behind))
    assert turn_end(folder).written == NAMED
    assert f"puts {behind!r}" in caplog.text or "puts '" in caplog.text or "puts nothing" in caplog.text


def test_an_end_that_sampling_passes_over_is_none(tmp_path, caplog):
    folder = write_twin(tmp_path / "twin")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": NAMED}))
    assert turn_end(folder) == TurnEnd(frozenset({NAMED}), written=NAMED)
    assert "where sampling does not end" in caplog.text


def test_without_generation_config_that_of_the_model_counts(tmp_path):
    folder = write_twin(tmp_path / "twin")
    (folder / "generation_config.json").unlink()  # config.json: eos_token_id = 1
    assert turn_end(folder) == TurnEnd(frozenset({NAMED, WRITTEN}), written=WRITTEN)


def test_a_response_that_the_template_shows_otherwise_leaves_the_tokenizers_end(tmp_path):
    folder = write_twin(tmp_path / "twin")
    template = folder / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("message.content + '<|end|>", "message.content | upper + '<|end|>")
    )
    assert turn_end(folder).written == NAMED
