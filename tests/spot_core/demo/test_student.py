"""The shipped student loads like any Hugging Face model and is as good, and as bad, as its card says."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from spot_core.demo import CHECKER_KIND, STUDENT_PATH, generate
from tools.demo_student.measure import is_right, respond
from tools.demo_student.pretrain import build_model
from tools.demo_student.tokenizer import MAX_TOKENS, build_tokenizer


@pytest.fixture(scope="module")
def student():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield (
        AutoModelForCausalLM.from_pretrained(STUDENT_PATH).eval(),
        AutoTokenizer.from_pretrained(STUDENT_PATH),
    )
    torch.set_num_threads(before)


def share_right(student, name, count):
    rows = generate(name, count=count, seed=7, split="evaluation")
    responses = respond(*student, [row["question"] for row in rows], sample=False)
    pairs = zip(rows, responses, strict=True)
    return sum(is_right(CHECKER_KIND[name], row["answer"], response) for row, response in pairs) / count


def test_shipped_student_has_the_architecture_that_the_recipe_builds(student):
    model, _ = student
    built = build_model(build_tokenizer())
    left_out = {"_name_or_path", "architectures", "transformers_version"}
    shipped, expected = (
        {key: value for key, value in each.config.to_dict().items() if key not in left_out}
        for each in (model, built)
    )
    assert shipped == expected
    assert model.config.architectures == ["Qwen3ForCausalLM"]
    assert model.config.max_position_embeddings == MAX_TOKENS
    assert {name: weight.shape for name, weight in model.state_dict().items()} == {
        name: weight.shape for name, weight in built.state_dict().items()
    }
    assert model.num_parameters() == 371_136 and model.dtype == torch.float32


def test_shipped_tokenizer_is_the_one_the_code_builds(student):
    _, tokenizer = student
    built = build_tokenizer()
    assert tokenizer.get_vocab() == built.get_vocab()
    assert tokenizer.chat_template == built.chat_template
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (built.eos_token_id, built.pad_token_id)


def test_shipped_student_stops_at_the_end_of_a_turn(student):
    model, tokenizer = student
    assert model.generation_config.eos_token_id == model.config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


def test_shipped_checkpoint_is_small_and_complete():
    names = {path.name for path in STUDENT_PATH.iterdir()}
    assert names == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in STUDENT_PATH.iterdir()) < 2_000_000


def test_shipped_student_gets_about_half_of_the_chains(student):
    assert 0.25 <= share_right(student, "demo-chains", 60) <= 0.75


def test_shipped_student_knows_what_is_to_be_retained(student):
    assert share_right(student, "demo-format", 60) >= 0.9
    assert share_right(student, "demo-strings", 60) >= 0.9
