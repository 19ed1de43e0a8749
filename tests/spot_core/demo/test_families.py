"""The question generators keep their promises: seeded, distinct, split for good, answered right."""

import subprocess
import sys

import pytest

from spot_core.demo import CHECKER_KIND, GENERATORS, generate
from spot_core.demo.chains import STYLES
from spot_core.demo.items import SPLITS, split_of
from spot_core.errors import InputError

EACH_GENERATOR = pytest.mark.parametrize("name", GENERATORS)


def questions(name, **settings):
    return [row["question"] for row in generate(name, **settings)]


def plain_chain(question):
    for style in STYLES.values():
        question = question.removesuffix(style.instruction)
    return question


@EACH_GENERATOR
def test_same_seed_gives_same_rows_and_other_seed_others(name):
    rows = generate(name, count=200, seed=3, split="train")
    assert rows == generate(name, count=200, seed=3, split="train")
    assert rows != generate(name, count=200, seed=4, split="train")


@EACH_GENERATOR
def test_smaller_count_is_a_prefix_of_a_larger(name):
    assert (
        generate(name, count=37, seed=0, split="train")
        == generate(name, count=300, seed=0, split="train")[:37]
    )


@EACH_GENERATOR
def test_rows_have_the_columns_of_a_question_and_name_their_kind(name):
    for index, row in enumerate(generate(name, count=50, seed=0, split="evaluation")):
        assert set(row) == {"question", "answer", "source_id"}
        assert all(isinstance(value, str) and value for value in row.values())
        family, kind, position = row["source_id"].split("/")
        assert family == name and kind and position == f"evaluation-{index:06d}"


@EACH_GENERATOR
def test_kinds_come_in_turn(name):
    kinds = [row["source_id"].split("/")[1] for row in generate(name, count=60, seed=0, split="train")]
    assert {kinds.count(kind) for kind in kinds} == {60 // len(set(kinds))}


@EACH_GENERATOR
@pytest.mark.parametrize("split", SPLITS)
def test_questions_are_distinct_and_belong_to_their_split(name, split):
    asked = questions(name, count=700, seed=1, split=split)
    assert len(set(asked)) == len(asked)
    assert {split_of(plain_chain(question)) for question in asked} == {split}


@EACH_GENERATOR
def test_splits_share_no_question_whatever_the_seeds(name):
    train = {
        question for seed in range(3) for question in questions(name, count=2000, seed=seed, split="train")
    }
    assert train.isdisjoint(questions(name, count=700, seed=9, split="evaluation"))


def test_a_chain_is_in_one_split_with_and_without_an_instruction():
    train = {plain_chain(text) for text in questions("demo-format", count=30_000, seed=0, split="train")}
    assert train.isdisjoint(questions("demo-chains", count=10_000, seed=0, split="evaluation"))


def test_evaluation_is_about_a_fifth_of_all_questions():
    splits = [split_of(f"Compute {number}.") for number in range(10_000)]
    assert splits.count("evaluation") == pytest.approx(2000, abs=160)


def test_count_beyond_the_supply_is_refused_with_what_there_is():
    with pytest.raises(InputError, match=r"two-step: 5000 evaluation questions asked, 736 available"):
        generate("two-step", count=5000, seed=0, split="evaluation")
    assert len(generate("two-step", count=736, seed=0, split="evaluation")) == 736


def test_count_beyond_a_drawn_family_is_refused_too():
    with pytest.raises(InputError, match=r"demo-format: 30001 train questions asked, 30000 available"):
        generate("demo-format", count=30_001, seed=0, split="train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "demo-sums"}, "'demo-sums' is unknown; choose one of demo-chains"),
        ({"split": "test"}, "split 'test' is unknown; choose one of train, evaluation"),
        ({"count": 0}, "count must be at least 1, not 0"),
    ],
)
def test_unusable_requests_are_refused_by_value(settings, message):
    with pytest.raises(InputError, match=message):
        generate(**{"name": "demo-chains", "count": 1, "seed": 0, "split": "train"} | settings)


def test_every_generator_has_one_line_and_a_checker_kind():
    assert CHECKER_KIND.keys() == GENERATORS.keys()
    assert all(line.endswith(".") and "\n" not in line for line in GENERATORS.values())
    assert {name for name, kind in CHECKER_KIND.items() if kind != "math"} == {"demo-format", "demo-strings"}


def test_generators_import_without_heavy_packages():
    code = (
        "import sys, spot_core.demo as demo;"
        "demo.generate('demo-chains', count=1, seed=0, split='train');"
        "print({'torch', 'numpy', 'transformers', 'tokenizers', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
