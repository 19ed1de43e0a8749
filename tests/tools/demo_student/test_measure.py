"""The measure of a student compares answers as their checker kind says."""

import pytest

from tools.demo_student.measure import is_right


@pytest.mark.parametrize(
    ("kind", "answer", "response", "right"),
    [
        ("math", "48", "48+8=56\nAnswer: \\boxed{48}", True),
        ("math", "48", "\\boxed{48} no, \\boxed{47}", False),
        ("math", "48", "the answer is 48", False),
        ("exact", "abc", "abc", True),
        ("exact", "abc", "abcd", False),
        ("pattern", r"\d+; ok", "12; ok", True),
        ("pattern", r"\d+; ok", "12; ok\n", False),
    ],
)
def test_responses_are_compared_by_kind(kind, answer, response, right):
    assert is_right(kind, answer, response) is right
