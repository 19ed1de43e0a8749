import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.oracles.arithmetic.expressions import evaluate
from spot_core.oracles.arithmetic.links import links_between
from spot_core.oracles.arithmetic.reading import read_expression
from spot_core.oracles.arithmetic.tokens import tokenize


def linked(before: str, after: str) -> list[tuple[int, str]] | None:
    links = links_between(read_expression(tokenize(before)).root, read_expression(tokenize(after)).root)
    return None if links is None else [(int(evaluate(link.part)), link.literal.token.text) for link in links]


@pytest.mark.parametrize(
    ("before", "after", "links"),
    [
        ("3 * 15 + 20", "45 + 20", [(45, "45"), (20, "20")]),
        ("3 * 15 + 20", "40 + 20", [(45, "40"), (20, "20")]),
        ("15 + 8 + 6", "23 + 6", [(23, "23"), (6, "6")]),
        ("(2 + 4) * (3 + 5)", "6 * 8", [(6, "6"), (8, "8")]),
        ("34 * 25", "34 * 25", [(34, "34"), (25, "25")]),
        ("34 * 25", "25 * 34", None),
        ("3 * 15 + 20", "45 + 25", None),
        ("3 * 15 + 20", "45 - 20", None),
    ],
)
def test_numbers_are_linked_to_the_parts_that_they_simplify(before, after, links):
    assert linked(before, after) == links


numbers = st.integers(1, 99)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=5), st.data())
def test_a_sum_of_products_is_linked_term_by_term(products, data):
    done = data.draw(st.lists(st.booleans(), min_size=len(products), max_size=len(products)))
    before = " + ".join(f"{a} * {b}" for a, b in products)
    after = " + ".join(
        str(a * b) if one else f"{a} * {b}" for (a, b), one in zip(products, done, strict=True)
    )
    links = linked(before, after)
    assert links is not None
    assert all(value == int(text) for value, text in links)
