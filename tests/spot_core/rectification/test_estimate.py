"""The page that is shown before money is spent: figures of every Oracle, and the whole first prompt."""

import pytest

from spot_core.rectification.estimate import Estimate, OracleEstimate
from tests.spot_core.report.test_stage_pages import assert_harmless
from tests.spot_core.test_markdown import HOSTILE


def of(*oracles, prompt="Solve it."):
    return Estimate(failures=1234, oracles=oracles, first_prompt=prompt)


def test_every_oracle_has_its_figures_and_the_sum_is_told():
    cheap = OracleEstimate("cheap", 1000, 2000, 5_000_000, 70_000, 12.5, "$20")
    strong = OracleEstimate("strong", 9, 9, 1, 1, 100.0, "")
    local = OracleEstimate("local", 3, 3, 1, 1, None, "")
    page = assert_harmless(of(cheap, strong, local).markdown())
    assert {"1,000", "2,000", "5,000,000", "70,000", "about $12.50", "$20", "price not known", "none"} <= {
        text.strip() for text in page.cells
    }
    assert "about $112.50" in of(cheap, strong, local).markdown()
    assert "1,234 failures" in of(cheap).markdown()


def test_the_first_prompt_is_shown_whole_and_as_it_is():
    prompt = "\n".join(f"line {n} of *instructions* with `code`" for n in range(300))
    assert prompt in of(prompt=prompt).markdown()


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_prompt_or_name_breaks_out(text):
    oracle = OracleEstimate(text, 1, 1, 1, 1, 1.0, text)
    assert_harmless(of(oracle, prompt=text).markdown())
