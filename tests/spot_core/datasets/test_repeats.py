"""Two settings of one text have the same tokens; another number, sign, variable or board never has.

Of questions that say the same one stays; what differs in a number, or in its answer, is another question.
"""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rapidfuzz.distance import Indel

from spot_core.config.questions import ColumnMapping, FileQuestions, GeneratorQuestions
from spot_core.datasets import read_questions
from spot_core.datasets import repeats as repeats_module
from spot_core.datasets.repeats import Asked, bands, find_repeats, wording
from spot_core.demo import generate

SAME = [
    ("Compute 48+8-8.", "  COMPUTE  48 + 8 - 8 "),
    ("What is $x^2$?", r"what is \(x ^ 2\)"),
    (r"Find $\frac{1}{2}\,x$.", r"Find $\dfrac{1}{2} \; x$"),
    (r"Let $f\left(x\right) = 3 \quad \text{for all } x$.", r"let \[f(x)=3\text{for all }x\]"),
    ("It costs 1,000 dollars, or so.", "It costs 1000 dollars or so"),
    ("Find {1,2,3}.", "find {1, 2, 3}"),
    ("Tom’s two-digit number – say 12−3", "toms two digit number - say 12-3"),
    ("The word “yes” ends it!", 'the word "yes" ends it'),
    ("Is it\n\tso?", "is it so"),
    ("cafe\u0301 au lait", "Café au lait"),
]

DIFFERENT = [
    ("Compute 48+8-8.", "Compute 47+8-8."),
    ("Compute 48+8-8.", "Compute 48-8-8."),
    ("Compute 1.5 + 2", "Compute 15 + 2"),
    ("Compute 1 5 + 2", "Compute 15 + 2"),
    ("Find 5! + 1", "Find 5 + 1"),
    ("Find n!", "Find n"),
    ("Find f'(x)", "Find f(x)"),
    ("the ratio 3:4", "the ratio 34"),
    ("on (0, 1]", "on (0, 1)"),
    ("X.O\n.X.", "XO.\n.X."),
    (". X", "X"),
    (r"Find $\Delta$", r"Find $\delta$"),
    ("It is prime.", "It is not prime."),
    ("x^2", "x2"),
    ("x²", "x2"),
    (r"$\leq 5$", r"$\geq 5$"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_case_spacing_and_punctuation_change_no_token(first, second):
    assert wording(first).tokens == wording(second).tokens


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_what_carries_meaning_changes_a_token(first, second):
    assert wording(first).tokens != wording(second).tokens


def test_every_text_has_tokens():
    for text in ("?", ",", "$", "", "\\", "   "):
        assert wording(text).tokens


def test_numbers_variables_and_negations_are_marks_and_other_words_are_not():
    marks = wording(r"Tom has three apples and a cost of $x$: how many, if not \alpha, are 12?").marks
    assert marks == ("three", "x", "not", "\\alpha", "12")


def test_a_formula_is_one_word_however_it_is_spaced():
    words = wording("Let f(x) = 3x + 1 for every real x.").words
    assert words == ("let", "f ( x ) = 3 x + 1", "for", "every", "real", "x")
    assert words == wording("let $f(x)=3x+1$ for every real $x$").words


def test_text_without_spaces_has_a_word_for_each_character():
    assert wording("求最大值").words == ("求", "最", "大", "值")


FENCE = "A farmer builds a fence of 40 metres around a square field and paints every second post. How long is a side?"


def asked(*questions):
    pairs = [q if isinstance(q, tuple) else (q, "10") for q in questions]
    return [Asked(line, f"id-{line}", q, a) for line, (q, a) in enumerate(pairs, start=1)]


def set_aside(*questions, threshold=0.9):
    return {
        int(name[3:]): why
        for name, why in find_repeats(asked(*questions), threshold=threshold).reasons.items()
    }


def test_another_setting_of_a_question_is_a_duplicate_of_the_first():
    found = set_aside(FENCE, FENCE.upper(), f"  {FENCE[:-1]} ", (FENCE.replace(" ", "\n"), "10."))
    assert set(found) == {2, 3, 4}
    assert set(found.values()) == {"duplicate: the same as line 1 up to case, spacing and punctuation"}


def test_other_words_around_the_same_numbers_are_a_near_duplicate():
    other = FENCE.replace("farmer", "peasant")
    found = set_aside(FENCE, "Something else with 40 metres.", other)
    assert set(found) == {3}
    assert found[3].startswith("near_duplicate: 0.95 of the words are those of line 1")
    assert set_aside(FENCE, other, threshold=0.97) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Compute 48+8-8.", "Compute 47+8-8."),
        (FENCE, FENCE.replace("40", "44")),
        (FENCE, FENCE.replace("second", "third")),
        (FENCE, FENCE.replace("every", "not every")),
        (FENCE + " Call it $x$.", FENCE + " Call it $y$."),
    ],
)
def test_another_number_is_another_question_even_with_the_same_answer(first, second):
    assert set_aside(first, second, threshold=0.5) == {}


def test_one_wording_with_two_answers_is_a_conflict_and_nothing_of_it_is_used():
    found = set_aside(FENCE, (FENCE.upper(), "11"), FENCE.replace("farmer", "peasant"))
    assert set(found) == {1, 2}
    assert set(found.values()) == {"conflict: the same question has the answers '10' (line 1), '11' (line 2)"}


def test_nearly_the_same_words_with_another_answer_are_both_kept_and_reported():
    questions = asked(
        ("How many down quarks does a tritium nucleus contain in all?", "5"),
        ("How many up quarks does a tritium nucleus contain in all?", "4"),
    )
    repeats = find_repeats(questions, threshold=0.9)
    assert repeats.reasons == {}
    assert repeats.near_conflicts == [(1, 2)]


def test_an_answer_is_compared_up_to_its_setting_too():
    assert set(set_aside((FENCE, "$\\frac{1}{2}$"), (FENCE.upper(), "\\dfrac{1}{2}"))) == {2}
    assert set(set_aside((FENCE, "-5"), (FENCE.upper(), "5"))) == {1, 2}


def test_a_chain_of_small_changes_does_not_carry_a_question_away():
    words = [f"w{chr(97 + i)}{chr(97 + i)}" for i in range(20)]
    chain = [" ".join(["zz" + chr(97 + i) for i in range(n)] + words[n:]) for n in range(0, 20, 2)]
    found = set_aside(*chain)
    for line, why in found.items():
        first = int(why.partition("line ")[2].partition(",")[0])
        assert first not in found
        assert abs(first - line) == 1


def test_at_threshold_zero_questions_are_compared_letter_by_letter():
    assert set_aside(FENCE, FENCE.upper(), FENCE.replace("farmer", "peasant"), threshold=0) == {}
    assert set(set_aside(FENCE, (FENCE, "11"), threshold=0)) == {1, 2}


@pytest.mark.parametrize("name", ["demo-chains", "demo-format", "demo-strings", "two-step", "two-step-words"])
def test_every_question_of_a_generator_is_kept(name):
    questions = read_questions(GeneratorQuestions(name=name, count=100, split="evaluation"))
    assert (len(questions.rows), questions.rejected, questions.set_aside) == (100, [], {})


@pytest.mark.parametrize("name", ["demo-chains", "two-step"])
def test_questions_that_differ_in_their_numbers_are_all_kept(name):
    made = generate(name, count=300, seed=0, split="train")
    questions = asked(*((row["question"], row["answer"]) for row in made))
    assert find_repeats(questions, threshold=0.5).reasons == {}


def test_a_source_says_how_many_rows_were_set_aside_for_which_reason(tmp_path, caplog):
    rows = [
        (FENCE, "10"),
        (FENCE.upper(), "10"),
        (FENCE.replace("farmer", "peasant"), "10"),
        ("1+1?", "2"),
        ("", "1"),
    ]
    rows += [(FENCE.replace("How long is a side", "How long is its edge"), "9")]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows))
    questions = read_questions(FileQuestions(path=str(path), near_duplicates=0.8))
    assert questions.set_aside == {"duplicate": 1, "near_duplicate": 1, "empty question": 1}
    assert [row["line"] for row in questions.rejected] == [2, 3, 5]
    assert questions.near_conflicts == 1
    assert "at lines 1 and 6" in caplog.text
    whole = read_questions(FileQuestions(path=str(path)), whole=True)
    assert whole.set_aside == {"empty question": 1}


def test_all_responses_to_a_repeated_question_go_with_it(tmp_path):
    rows = [(FENCE, "A: 1"), (FENCE, "A: 2"), (FENCE.upper(), "A: 3"), (FENCE.upper(), "A: 4")]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"question": q, "answer": "10", "r": r}) + "\n" for q, r in rows))
    questions = read_questions(FileQuestions(path=str(path), columns=ColumnMapping(response="r")))
    assert [row["response"] for row in questions.rows] == ["A: 1", "A: 2"]
    assert questions.set_aside == {"duplicate": 2}


@pytest.mark.parametrize("share", [0.3, 1.1, -1])
def test_a_share_that_sets_everything_or_nothing_aside_is_refused(share):
    with pytest.raises(ValidationError, match="near_duplicates"):
        FileQuestions(path="q.jsonl", near_duplicates=share)


SYLLABLES = ["bal", "bel", "bil", "bol", "bul", "kal", "kel", "kil", "kol", "kul"]
WORDS = st.lists(
    st.sampled_from(["red", "blue", "box", "ball", "the", "in", "is", "of"]), min_size=1, max_size=14
)


@given(st.lists(WORDS, min_size=2, max_size=12), st.sampled_from([0.6, 0.8, 0.9]))
@settings(max_examples=60, deadline=None)
def test_a_question_is_set_aside_only_for_one_that_is_really_that_similar(texts, threshold):
    questions = asked(*dict.fromkeys(" ".join(words) for words in texts))
    repeats = find_repeats(questions, threshold=threshold)
    said = {one.line: wording(one.question).words for one in questions}
    for name, why in repeats.reasons.items():
        first = int(why.partition("line ")[2].partition(",")[0].partition(" ")[0])
        assert Indel.normalized_similarity(said[int(name[3:])], said[first]) >= threshold


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_hashing_overlooks_next_to_no_pair_at_the_threshold(threshold):
    draw = random.Random(0)
    vocabulary = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
    questions, changed = [], round(40 * (1 - threshold))
    for _ in range(300):
        words = draw.choices(vocabulary, k=40)
        other = list(words)
        for place in draw.sample(range(40), changed):
            other[place] = "new" + other[place]
        questions += [" ".join(words), " ".join(other)]
    assert len(set_aside(*questions, threshold=threshold)) >= 0.98 * 300


def test_a_family_from_one_template_is_not_compared_for_hours_and_it_says_so(monkeypatch):
    monkeypatch.setattr(repeats_module, "MOST_COMPARED", 5)
    towns = [
        f"Is the town of {a}{b} larger than the village of {b}{a}?" for a in SYLLABLES for b in SYLLABLES
    ]
    repeats = find_repeats(asked(*((town, "no") for town in towns), FENCE, FENCE.lower()), threshold=0.9)
    assert 0 < repeats.not_compared < len(towns)
    assert set(repeats.reasons.values()) == {
        f"duplicate: the same as line {len(towns) + 1} up to case, spacing and punctuation"
    }


def test_fewer_hashes_are_compared_at_once_where_less_similarity_counts():
    counts = [bands(threshold) for threshold in (0.5, 0.7, 0.9, 1.0)]
    assert counts == sorted(counts, reverse=True)
