import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spot_core.inference.prompts import TurnEnd
from spot_core.rectification.tokens import RectifiedTokens, rectified_token_ids


def decode(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def ends(tokenizer, *others: int) -> TurnEnd:
    return TurnEnd(frozenset({tokenizer.eos_token_id, *others}), tokenizer.eos_token_id)


def rectify(tokenizer, response: str, rectified: str, ids: list[int] | None = None) -> RectifiedTokens:
    sampled = encode(tokenizer, response) if ids is None else ids
    return rectified_token_ids(
        tokenizer,
        response=response,
        response_token_ids=[*sampled, tokenizer.eos_token_id],
        rectified=rectified,
        turn_end=ends(tokenizer),
        stopped=True,
    )


ASCII = st.text(alphabet="12 +=help.Answer: \\boxed{}\n", max_size=25)
ANY = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=15) | st.text(
    alphabet="é你好🙂1 h", max_size=15
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(prefix=ASCII, old=ASCII, new=ASCII, rest=ASCII)
def test_ids_decode_to_the_rectified_text_and_end_by_themselves(tokenizer, prefix, old, new, rest):
    tokens = rectify(tokenizer, prefix + old + rest, prefix + new + rest)
    assert tokens.exact
    assert tokens.ids[-1] == tokenizer.eos_token_id
    assert decode(tokenizer, tokens.ids) == prefix + new + rest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(prefix=ANY, old=ANY, new=ANY)
def test_characters_of_several_bytes_are_never_broken(byte_tokenizer, prefix, old, new):
    tokens = rectify(byte_tokenizer, prefix + old, prefix + new)
    assert tokens.exact
    assert decode(byte_tokenizer, tokens.ids) == prefix + new


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(alphabet="12 help", min_size=1, max_size=20), data=st.data())
def test_sampled_ids_are_kept_even_where_the_tokenizer_would_have_split_otherwise(byte_tokenizer, text, data):
    # A policy may sample any spelling of a text: here one token per character for a part of it.
    cut = data.draw(st.integers(0, len(text)))
    sampled = [i for c in text[:cut] for i in encode(byte_tokenizer, c)] + encode(byte_tokenizer, text[cut:])
    tokens = rectify(byte_tokenizer, text, text + " = 1", ids=sampled)
    assert tokens.ids[: tokens.kept] == sampled[: tokens.kept]
    assert decode(byte_tokenizer, tokens.ids) == text + " = 1"


def test_everything_before_the_first_edit_is_shared(character_tokenizer):
    response, rectified = "48+8=46\n46-8=38\nAnswer: \\boxed{38}", "48+8=56\n56-8=48\nAnswer: \\boxed{48}"
    tokens = rectify(character_tokenizer, response, rectified)
    assert tokens.kept == len("48+8=")
    assert tokens.ids[:-1] == encode(character_tokenizer, rectified)


def test_a_token_that_the_new_text_would_merge_is_given_up(byte_tokenizer):
    # "help" + "ing" against "help" + "er": the boundary after "help" must also be one of the new tokenization.
    tokens = rectify(byte_tokenizer, "the help", "the helper")
    assert tokens.ids[:-1] == encode(byte_tokenizer, "the helper")


def test_special_tokens_in_the_text_stay_text(tokenizer):
    rectified = "1+1=2 <|im_end|> 3"
    tokens = rectify(tokenizer, "1+1=3 <|im_end|> 3", rectified)
    assert tokens.exact
    assert tokenizer.eos_token_id not in tokens.ids[:-1]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_cut_response_has_no_terminator_to_leave_out(character_tokenizer, stopped):
    ids = encode(character_tokenizer, "1+1=3")
    tokens = rectified_token_ids(
        character_tokenizer,
        response="1+1=3",
        response_token_ids=[*ids, character_tokenizer.eos_token_id] if stopped else ids,
        rectified="1+1=2",
        turn_end=ends(character_tokenizer),
        stopped=stopped,
    )
    assert tokens.kept == 4
    assert tokens.ids[-1] == character_tokenizer.eos_token_id


def test_text_outside_the_vocabulary_is_said_to_be_inexact(character_tokenizer):
    assert not rectify(character_tokenizer, "1+1=3", "1+1=é").exact


def test_nothing_in_common_is_not_called_retokenized(character_tokenizer):
    tokens = rectify(character_tokenizer, "abc", "xyz")
    assert tokens.kept == 0
    assert not tokens.retokenized


def test_the_edit_ends_in_the_token_that_ended_the_sampled_response(character_tokenizer):
    other, *ids = encode(character_tokenizer, "71+1=3")
    turn_end = ends(character_tokenizer, other)

    def end_of_edit(sampled: list[int], *, stopped: bool) -> int:
        tokens = rectified_token_ids(
            character_tokenizer,
            response="1+1=3",
            response_token_ids=sampled,
            rectified="1+1=2",
            turn_end=turn_end,
            stopped=stopped,
        )
        assert tokens.kept == 4
        return tokens.ids[-1]

    assert end_of_edit([*ids, other], stopped=True) == other
    assert end_of_edit([*ids, turn_end.written], stopped=True) == turn_end.written
    assert end_of_edit(ids, stopped=True) == turn_end.written, "imported: nothing ended it"
    assert end_of_edit(ids, stopped=False) == turn_end.written


def test_special_tokens_behind_the_edit_are_lost_and_it_says_so(character_tokenizer):
    special = character_tokenizer.eos_token_id
    ids = [*encode(character_tokenizer, "1+1=3"), special, *encode(character_tokenizer, " so 3")]
    behind = rectify(character_tokenizer, "1+1=3 so 3", "1+1=2 so 2", ids=ids)
    assert special not in behind.ids[:-1] and not behind.exact
    before = rectify(character_tokenizer, "1+1=3 so 3", "1+1=3 so 2", ids=ids)
    assert special in before.ids[:-1] and before.exact
