"""Accuracy before and after: counted right, sampled apart, and never paid for twice."""

import math
import shutil

import pytest

from spot_core.errors import ConfigError
from spot_core.pipeline import stages
from spot_core.pipeline.evaluate import accuracy_statistics
from spot_core.pipeline.resolve import Resolver
from spot_core.store import schemas
from tests.spot_core.pipeline.miniature import Student, pretend_training, run_stages


def answers(*verdicts_by_question):
    return [
        {"question_id": str(number), "sample": sample, "verdict": verdict, "extracted_answer": answer}
        for number, verdicts in enumerate(verdicts_by_question)
        for sample, (verdict, answer) in enumerate(
            ("correct", "1") if letter == "c" else ("no_answer", None) for letter in verdicts
        )
    ]


def test_accuracy_is_the_mean_over_questions_of_the_mean_over_samples():
    figures = accuracy_statistics(answers("cc", "c-", "--", "cc"), samples=2)
    assert figures["accuracy"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert figures["answered"] == pytest.approx(5 / 8)
    assert figures["verdicts"] == {"correct": 5, "no_answer": 3}


def test_the_interval_counts_questions_not_samples():
    once = accuracy_statistics(answers(*"cccc----"), samples=1)
    many = accuracy_statistics(answers(*("cccc", "----") * 4), samples=4)
    assert many["half_width_95"] == pytest.approx(once["half_width_95"])
    assert once["half_width_95"] == pytest.approx(1.96 * math.sqrt(0.25 * 8 / 7 / 8), rel=1e-3)
    assert accuracy_statistics(answers("c"), samples=1)["half_width_95"] == 0.0


@pytest.fixture
def trained(fake, trained_fake, configure):
    """A run up to its (pretended) training."""
    run = run_stages(configure(), "one")
    pretend_training(run)
    fake.asked.clear()
    return run


def test_each_model_answers_every_question_on_its_own_server(fake, trained_fake, trained):
    made = stages.evaluate_models(trained)
    assert list(made) == ["before/chains", "after/chains"]
    assert len(fake.asked) == len(trained_fake.asked) == 10
    assert fake.asked[0]["model"] == "some/model"
    assert trained_fake.asked[0]["model"] == "policy"
    # The same seeds for both: what differs is the model.
    assert {body["seed"] for body in fake.asked} == {body["seed"] for body in trained_fake.asked}
    for artifact in made.values():
        assert artifact.table().schema.equals(schemas.EVALUATE)
        assert artifact.rows == 10
    assert made["before/chains"].key != made["after/chains"].key
    assert Resolver(trained).complete("evaluate")


def test_a_better_model_is_seen_to_be_better(trained_fake, trained):
    trained_fake.complete = Student(rate=0.0)
    seen = []
    made = stages.evaluate_models(trained, lambda done, total: seen.append((done, total)))
    assert made["before/chains"].statistics["accuracy"] < 1
    assert made["after/chains"].statistics["accuracy"] == 1
    assert [total for _, total in seen] == [20] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (20, 20)


def test_an_ablation_does_not_evaluate_the_base_again(fake, trained_fake, configure, trained):
    stages.evaluate_models(trained)
    fake.asked.clear()
    trained_fake.asked.clear()
    other = run_stages(configure(train={"objective": "dpo"}), "two")
    pretend_training(other, trained_on="the same pairs by another objective")
    stages.evaluate_models(other)
    assert (len(fake.asked), len(trained_fake.asked)) == (0, 10)
    assert other.record.used["evaluate/before/chains"].reused
    assert not other.record.used["evaluate/after/chains"].reused


def test_samples_of_a_question_have_seeds_of_their_own(fake, trained_fake, configure):
    dataset = configure().evaluate.datasets[0].model_dump() | {"samples": 3}
    run = run_stages(configure(evaluate={"datasets": [dataset]}), "one")
    pretend_training(run)
    fake.asked.clear()
    made = stages.evaluate_models(run)
    assert made["before/chains"].rows == 30
    assert made["before/chains"].statistics["samples"] == 3
    assert len({body["seed"] for body in fake.asked}) == 30


def test_a_lost_checkpoint_is_noticed_before_anything_is_asked(fake, trained):
    checkpoint = Resolver(trained).checkpoint()
    assert checkpoint is not None
    shutil.rmtree(checkpoint)
    with pytest.raises(ConfigError, match="stage 'train' first"):
        stages.evaluate_models(trained)
    assert fake.asked == []
