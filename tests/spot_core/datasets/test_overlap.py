"""A question that an evaluation set holds, whole or in a long run of words, is set aside; a fixed wording is not."""

from hypothesis import given
from hypothesis import strategies as st

from spot_core.datasets.overlap import FEWEST_BOILERPLATE, find_overlaps

LONG = (
    "A farmer builds a fence of 40 metres around a square field and paints every second post in red. "
    "How long is one side of the field?"
)
RUN = "a farmer builds a fence of 40 metres around a square field and"
PREAMBLE = (
    "Solve the following problem with care and write the answer on the last line of your response, please. "
)
TASKS = [
    f"{verb} the {thing} of it, then stop." for verb in ("Find", "Draw", "Tell") for thing in ("mass", "age")
]


def overlaps(questions, held_out, *, shown=(), words=13, boilerplate_share=0.01):
    return find_overlaps(
        questions, held_out={"exam": held_out}, shown=shown, words=words, boilerplate_share=boilerplate_share
    )


def test_a_run_of_words_in_common_names_the_set_and_the_words():
    found = overlaps(["Something else.", LONG.replace("How long", "Tell us how long")], [LONG]).reasons
    assert found == {1: f"held_out: 13 words in a row of a question of the evaluation set 'exam': {RUN}"}


def test_case_punctuation_and_formula_spacing_hide_nothing():
    formula = "Let $f(x) = 3x + 1$ " + LONG
    assert set(
        overlaps([formula.upper().replace("F(X) = 3X + 1", "f(x)=3x+1") + " Go on!"], [formula]).reasons
    ) == {0}


def test_one_word_less_in_common_is_no_overlap():
    words = [f"word{chr(97 + i)}" for i in range(13)]
    question, other = " ".join(words), " ".join([*words[:12], "different"])
    assert overlaps([other + " and more"], [question + " and less"]).reasons == {}
    assert set(overlaps([other + " and more"], [question + " and less"], words=12).reasons) == {0}


def test_a_short_question_counts_only_as_a_whole():
    assert overlaps(
        ["compute 48 + 8 - 8", "Compute 48+8-9.", "So compute 48+8-8."], ["Compute 48+8-8."]
    ).reasons == {0: "held_out: also a question of the evaluation set 'exam'"}


def test_a_shown_example_counts_only_as_a_whole():
    found = overlaps([LONG.upper(), LONG + " Tell us."], [], shown=[LONG]).reasons
    assert found == {0: "held_out: also a question of prompt.examples"}


def test_an_instruction_before_every_question_is_boilerplate_and_the_same_question_is_not():
    found = overlaps([PREAMBLE + task for task in TASKS], [PREAMBLE + "Weigh the sun.", PREAMBLE + TASKS[2]])
    assert set(found.reasons) == {2}
    assert found.boilerplate[0] == "solve the following problem with care and write the answer on the last"
    everything = overlaps(
        [PREAMBLE + task for task in TASKS], [PREAMBLE + "Weigh the sun."], boilerplate_share=1
    )
    assert len(everything.reasons) == len(TASKS)
    assert everything.boilerplate == []


def test_beside_an_instruction_what_is_really_shared_still_counts():
    questions = [PREAMBLE + task for task in TASKS] + [PREAMBLE + "Listen. " + LONG]
    found = overlaps(questions, [PREAMBLE + LONG]).reasons
    assert set(found) == {len(TASKS)}
    assert found[len(TASKS)].endswith(RUN)


def test_a_run_in_few_questions_is_never_boilerplate():
    few = [f"{LONG} Variant {task}" for task in TASKS[: FEWEST_BOILERPLATE - 1]]
    assert len(overlaps(few, [LONG]).reasons) == len(few)


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), min_size=1, max_size=6))
def test_without_boilerplate_every_shared_run_is_found_and_no_other(texts):
    texts = [[f"word{letter}" for letter in letters] for letters in texts]
    held_out, *questions = texts
    found = overlaps(
        [" ".join(q) for q in questions], [" ".join(held_out)], words=5, boilerplate_share=1
    ).reasons
    runs = {tuple(held_out[i : i + 5]) for i in range(len(held_out) - 4)}
    expected = {
        number
        for number, question in enumerate(questions)
        if question == held_out or any(tuple(question[i : i + 5]) in runs for i in range(len(question) - 4))
    }
    assert set(found) == expected
