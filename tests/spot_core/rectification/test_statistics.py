"""The figures are those that a person would count by hand, row by row."""

import math
import random
import tracemalloc
from collections import Counter, defaultdict
from statistics import fmean, median

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.rectification.figures import figures
from spot_core.rectification.measures import Measures
from spot_core.rectification.statistics import (
    costs_by_oracle,
    rates_by_attempt,
    rates_by_earlier_status,
    statistics,
)
from spot_core.store import ArtifactStore, Recipe, schemas
from tests.spot_core.rectification.rows import proposal, random_row, row

GAMMA = 0.6
RIGHT = {"accepted", "flagged", "too_different", "too_long"}
seeds = st.integers(0, 2**32)


def some_rows(seed: int, most: int = 60) -> list[dict]:
    rng = random.Random(seed)
    return [random_row(number, rng) for number in range(rng.randint(1, most))]


def tables(rows) -> dict[tuple[str, str], dict[str, float]]:
    by_group: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for table, group, figure, value in figures(Measures.of_rows(rows), gamma=GAMMA):
        assert figure not in by_group[table, group], "every figure stands once"
        by_group[table, group][figure] = value
    return by_group


@given(seed=seeds)
def test_the_manifests_figures_are_those_counted_by_hand(seed):
    rows = some_rows(seed)
    made = statistics(Measures.of_rows(rows), gamma=GAMMA)
    pairs = [r for r in rows if r["status"] == "accepted"]
    assert (made["failures"], made["pairs"]) == (len(rows), len(pairs))
    assert made["status"] == Counter(r["status"] for r in rows)
    assert made["flags"] == Counter(flag for r in rows for flag in r["flags"])
    assert made["cost_usd"] == pytest.approx(sum(r["cost_usd"] for r in rows))
    assert made["oracle_tokens"] == sum(r["oracle_input_tokens"] + r["oracle_output_tokens"] for r in rows)
    right = [r["change_ratio"] for r in rows if r["status"] in RIGHT]
    assert made["over_gamma_share"] == (
        pytest.approx(fmean(ratio > GAMMA for ratio in right)) if right else None
    )
    if not pairs:
        assert made["change_ratio"] is made["median_first_edit"] is made["cost_usd_per_pair"] is None
        return
    ratios = [r["change_ratio"] for r in pairs]
    assert made["change_ratio"]["mean"] == pytest.approx(fmean(ratios))
    assert made["change_ratio"]["median"] == pytest.approx(median(ratios))
    assert made["change_ratio"]["max"] == max(ratios)
    assert made["change_ratio_deciles"][4] == pytest.approx(median(ratios))
    assert made["change_ratio_deciles"] == sorted(made["change_ratio_deciles"])
    assert made["median_edit_regions"] == median(r["edit_regions"] for r in pairs)
    first = [r["shared_prefix_tokens"] / len(r["response_token_ids"]) for r in pairs]
    assert made["median_first_edit"] == pytest.approx(median(first))
    shared = sum(r["shared_prefix_tokens"] for r in pairs) / sum(len(r["rectified_token_ids"]) for r in pairs)
    assert made["shared_prefix_share"] == pytest.approx(shared)
    assert made["oracle_tokens_per_pair"] == pytest.approx(made["oracle_tokens"] / len(pairs))


@given(seed=seeds)
def test_accept_rates_are_those_counted_by_hand(seed):
    rows = some_rows(seed)
    asked, accepted, again, helped = Counter(), Counter(), Counter(), Counter()
    for r in rows:
        attempts: dict[tuple[str, int], list[str]] = {}
        for entry in r["history"]:
            attempts.setdefault((entry["oracle"], entry["attempt"]), []).append(entry["status"])
        before = None
        for key, statuses in attempts.items():
            asked[key] += 1
            accepted[key] += "accepted" in statuses
            if before:
                again[key[0], before] += 1
                helped[key[0], before] += "accepted" in statuses
            before = statuses[-1]
    measures = Measures.of_rows(rows)
    rates = rates_by_attempt(measures)
    assert dict(rates["asked"]) == asked
    assert dict(rates["accepted"]) == accepted
    after = rates_by_earlier_status(measures)
    assert dict(after["asked"]) == again
    assert dict(after["accepted"]) == helped


@given(seed=seeds)
def test_what_each_oracle_took_adds_up_to_what_the_rows_took(seed):
    rows = some_rows(seed)
    measures = Measures.of_rows(rows)
    costs = costs_by_oracle(measures)
    whole = statistics(measures, gamma=GAMMA)
    assert costs["tokens"].sum() == whole["oracle_tokens"]
    assert costs["cost_usd"].sum() == pytest.approx(whole["cost_usd"])
    assert costs["pairs"].sum() == whole["pairs"]
    for oracle, line in costs.iterrows():
        proposals = [(r, e) for r in rows for e in r["history"] if e["oracle"] == oracle]
        assert line["proposals"] == len(proposals)
        assert line["asked"] == len({r["question_id"] for r, _ in proposals})
        assert math.isnan(line["tokens_per_pair"]) == (line["pairs"] == 0)


def test_a_chain_in_figures():
    rows = [
        row(0, [proposal(oracle="calculator", cost_usd=0.0, input_tokens=0, output_tokens=0)]),
        row(
            1,
            [
                proposal("wrong_answer", oracle="calculator", cost_usd=0.0),
                proposal("unparseable"),
                proposal(),
            ],
        ),
        row(2, [proposal("wrong_answer"), proposal("too_different", attempt=2, change_ratio=0.75)]),
        row(3, [], oracle="openai:teacher", status="not_asked", reason="budget"),
    ]
    rows[1]["history"][2]["attempt"] = 2
    made = tables(rows)
    assert made["status", "all"] == {"accepted": 2, "too_different": 1, "not_asked": 1}
    assert made["accept_rate", "calculator · attempt 1"]["accept_rate"] == 0.5
    assert made["accept_rate", "openai:teacher · attempt 1"] == {
        "asked": 2, "accepted": 0, "accept_rate": 0, "tokens": 300, "cost_usd": 0.02,
    }  # fmt: skip
    assert made["accept_rate", "openai:teacher · attempt 2"]["accept_rate"] == 0.5
    assert made["accept_rate_after", "openai:teacher · unparseable"]["accept_rate"] == 1.0
    assert made["accept_rate_after", "openai:teacher · wrong_answer"]["accept_rate"] == 0.0
    assert made["proposals", "openai:teacher · attempt 1"] == {"unparseable": 1, "wrong_answer": 1}
    assert made["change_ratio", "right"]["over_gamma_share"] == pytest.approx(1 / 3)
    assert made["change_ratio", "accepted"]["mean"] == 0.25
    assert made["edits_by_regions", "accepted"] == {"1": 2}
    assert made["first_edit", "accepted"]["median"] == 0.5
    assert made["shared_prefix_share", "accepted"]["median"] == 0.6
    assert made["cost", "openai:teacher"]["pairs"] == 1
    assert made["cost", "openai:teacher"]["cost_usd_per_pair"] == pytest.approx(0.04)


def test_reasons_that_differ_in_numbers_are_one():
    rows = [
        row(n, [proposal("too_different", reason=f"the edit changes 0.{n} of it, more than 0.6")])
        for n in range(61, 75)
    ]
    [group] = [group for (table, _), group in tables(rows).items() if table == "reasons"]
    assert group == {"the edit changes # of it, more than #": 14}


@given(seed=seeds)
def test_every_value_is_a_number_and_fits_the_schema(seed):
    made = list(figures(Measures.of_rows(some_rows(seed)), gamma=GAMMA))
    table = pa.Table.from_pylist(
        [dict(zip(schemas.STATISTICS.names, figure, strict=True)) for figure in made],
        schema=schemas.STATISTICS,
    )
    assert all(math.isfinite(value) for value in table["value"].to_pylist())
    assert len({figure[:3] for figure in made}) == len(made)


def test_no_rows_have_figures_too():
    measures = Measures.of_rows([])
    made = statistics(measures, gamma=GAMMA)
    assert (made["failures"], made["pairs"], made["cost_usd"], made["change_ratio"]) == (0, 0, 0.0, None)
    assert {value for _, _, _, value in figures(measures, gamma=GAMMA)} == {0.0}


def test_an_artifact_has_the_figures_of_its_rows(tmp_path):
    rows = some_rows(3)
    with ArtifactStore(tmp_path).write(Recipe("rectify", {}, {}, 1)) as writer:
        writer.complete(rows, statistics={})
    artifact = ArtifactStore(tmp_path).get(Recipe("rectify", {}, {}, 1))
    stored, given_ = Measures.of_artifact(artifact), Measures.of_rows(rows)
    assert list(figures(stored, gamma=GAMMA)) == list(figures(given_, gamma=GAMMA))
    assert statistics(stored, gamma=GAMMA) == statistics(given_, gamma=GAMMA)


def test_memory_does_not_grow_with_the_texts(tmp_path):
    rows = [row(n, [proposal()], response="wrong " * 5000, rectified="right " * 5000) for n in range(2000)]
    with ArtifactStore(tmp_path).write(Recipe("rectify", {}, {}, 1)) as writer:
        writer.complete(rows, statistics={})
    artifact = ArtifactStore(tmp_path).get(Recipe("rectify", {}, {}, 1))
    del rows
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    measures = Measures.of_artifact(artifact)
    _, python_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    arrow = pa.total_allocated_bytes() - before
    assert len(measures.rows) == 2000
    assert python_peak + arrow < 2**21  # the texts are 60 MB
