"""The review page's file: hostile texts stay texts, and nothing is loaded or run but its own script."""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.rectification.review.page import render_review_page
from tests.spot_core.report.viewer.hostile import TEXTS
from tests.spot_core.report.viewer.test_page import Elements


def failure(**texts):
    """A line of failures.jsonl."""
    row = {"question_id": "a1", "sample": 0, "question": "q", "answer": "4", "response": "r", "reason": ""}
    return row | {"rectified": ""} | texts


def page_of(*rows, folder="/store/rectify/k/review"):
    return render_review_page(rows, artifact="rectify/k/0", gamma=0.6, folder=folder)


def data_of(found):
    """The rows and facts in a page, as its script reads them."""
    rows, facts, _ = found.inside["script"]
    return json.loads(rows), json.loads(facts)


@given(st.text(), st.text(), st.text())
@settings(max_examples=50)
def test_texts_come_out_as_they_went_in_and_add_no_element(question, response, previous):
    row = failure(question=question, response=response, rectified=previous)
    found = Elements(page_of(row, folder=question))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in Elements(page_of(failure())).elements]
    assert found.comments == 0
    [entry], facts = data_of(found)
    assert (entry["question"], entry["response"], entry["previous"]) == (question, response, previous)
    assert facts["folder"] == question


@pytest.mark.parametrize("text", [*TEXTS, "half \ud83d of a character"])
def test_hostile_text_is_escaped_and_the_file_is_plain_utf8(text):
    page = page_of(failure(**dict.fromkeys(("question", "answer", "response", "reason", "rectified"), text)))
    page.encode()  # no lone surrogate
    assert not re.search("[\0\x1b\u202e\u2066\u2028\ud83d\ufeff]", page)
    [entry], _ = data_of(Elements(page))
    assert {entry[name] for name in ("question", "gold", "response", "reason", "previous")} == {text}


def test_only_the_pages_own_script_and_style_may_run_and_nothing_is_loaded():
    found = Elements(page_of(failure(question=TEXTS[0])))
    [policy] = [a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    sources = {"script": found.inside["script"][-1], "style": found.inside["style"][0]}
    for name, source in sources.items():
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    for _, attributes in found.elements:
        assert not attributes.keys() & {"src", "href", "style"}
        assert not any(name.startswith("on") for name in attributes)
