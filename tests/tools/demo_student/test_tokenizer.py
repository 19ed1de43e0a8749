"""The tokenizer loses nothing, and its chat template writes what the student was trained on."""

from itertools import islice

import jinja2
import pytest
from transformers import AutoTokenizer

from spot_core.demo import GENERATORS, generate
from tools.demo_student.corpus import training_pairs
from tools.demo_student.tokenizer import (
    ANSWER,
    CHARACTERS,
    END,
    MAX_TOKENS,
    PIECES,
    build_tokenizer,
    prompt_text,
)

TOKENIZER = build_tokenizer()
PAIRS = list(islice(training_pairs(5), 4000))


def chat(*contents, **settings):
    roles = ("user", "assistant")
    messages = [{"role": roles[turn % 2], "content": text} for turn, text in enumerate(contents)]
    return TOKENIZER.apply_chat_template(messages, tokenize=False, **settings)


def test_thousands_of_texts_survive_a_round_trip():
    texts = [prompt_text(question) + response + END for question, response in PAIRS]
    encoded = TOKENIZER(texts)["input_ids"]
    assert TOKENIZER.batch_decode(encoded) == texts
    assert not any(TOKENIZER.unk_token_id in ids for ids in encoded)
    assert max(map(len, encoded)) < 100 < MAX_TOKENS


def test_every_demo_question_and_every_printable_character_survive():
    texts = [
        row["question"]
        for name in GENERATORS
        if name.startswith("demo-")
        for row in generate(name, count=500, seed=0, split="evaluation")
    ]
    for text in [*texts, "".join(CHARACTERS), "  two  spaces , kept ."]:
        ids = TOKENIZER.encode(text)
        assert TOKENIZER.decode(ids) == text and TOKENIZER.unk_token_id not in ids


def test_fixed_pieces_are_one_token_and_digits_are_apart():
    assert all(len(TOKENIZER.encode(piece)) == 1 for piece in PIECES)
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode("48+8=56")) == list("48+8=56")


def test_response_tokens_do_not_depend_on_the_prompt_before_them():
    for question, response in PAIRS[:1000]:
        prompt = TOKENIZER.encode(prompt_text(question))
        assert TOKENIZER.encode(prompt_text(question) + response + END) == prompt + TOKENIZER.encode(
            response + END
        )


def test_chat_template_ends_with_the_generation_prompt_only_when_asked():
    assert chat("Copy abc.", add_generation_prompt=True) == prompt_text("Copy abc.") == "Q: Copy abc.\nA: "
    assert chat("Copy abc.", add_generation_prompt=False) == "Q: Copy abc."
    assert chat("Copy abc.", add_generation_prompt=True).endswith(ANSWER)


def test_chat_template_ends_a_turn_with_the_end_token():
    assert chat("Copy abc.", "abc") == f"Q: Copy abc.\nA: abc{END}\n"
    several = chat("Copy abc.", "abc", "Upper abc.", add_generation_prompt=True)
    assert several == f"Q: Copy abc.\nA: abc{END}\nQ: Upper abc.\nA: "


def test_chat_template_refuses_roles_the_student_never_saw():
    with pytest.raises(jinja2.TemplateError, match="roles user and assistant, not system"):
        TOKENIZER.apply_chat_template([{"role": "system", "content": "Be brief."}], tokenize=False)


def test_end_pad_and_unknown_are_three_tokens():
    assert TOKENIZER.eos_token == END
    assert len({TOKENIZER.eos_token_id, TOKENIZER.pad_token_id, TOKENIZER.unk_token_id}) == 3
    assert TOKENIZER.encode("é") == [TOKENIZER.unk_token_id]


def test_saved_tokenizer_is_the_same_when_loaded(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.is_fast and loaded.get_vocab() == TOKENIZER.get_vocab()
    assert loaded.chat_template == TOKENIZER.chat_template and loaded.padding_side == "left"
