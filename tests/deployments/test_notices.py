"""What a message about a failed run says, filled in as Prefect's server does."""

import json
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.server.events.actions import CallWebhook, SendNotification
from prefect.server.events.schemas.events import Resource
from prefect.server.schemas.core import FlowRun
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.settings import PREFECT_UI_URL, temporary_settings

from deployments.notices import Notice, require_address
from spot_core.errors import ConfigError

HOSTILE = 'EngineError: "quoted" {{ 7 * 7 }}\n</script>\\ {% raw %} – end'


def filled(template: str, *, message: str | None, run_name: str | None = "my-run") -> str:
    resource = Resource(
        {"prefect.resource.id": "prefect.flow-run.x", "prefect.state-name": "Failed"}
        | ({} if message is None else {"prefect.state-message": message})
    )
    flow_run = FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-cat", parameters={"run_name": run_name})
    context = {
        "event": SimpleNamespace(resource=resource),
        "flow_run": flow_run,
        "flow": SimpleNamespace(name="spot"),
    }
    # What the server checks when the automation is made; it also makes `ui_url` known.
    CallWebhook(block_document_id=uuid4(), payload=template)
    with temporary_settings({PREFECT_UI_URL: "http://ui"}):
        return render_user_template_sync(template, context)


def test_a_webhook_is_sent_json_whatever_the_reason_says():
    sent = json.loads(filled(Notice.payload, message=HOSTILE))
    assert sent["reason"] == HOSTILE
    assert (sent["run"], sent["flow"], sent["state"]) == ("my-run", "spot", "Failed")
    assert sent["link"].startswith("http://ui/runs/flow-run/")
    assert sent["text"] == f"run my-run of flow spot ended Failed: {HOSTILE}\n{sent['link']}"


def test_a_run_without_a_name_has_its_flow_runs_and_a_failure_without_a_reason_says_so():
    sent = json.loads(filled(Notice.payload, message=None, run_name=None))
    assert sent["run"] == "brave-cat"
    assert sent["reason"] == "no reason was given"


def test_a_notification_block_is_sent_the_same_as_text():
    SendNotification(block_document_id=uuid4(), subject=Notice.subject, body=Notice.text)
    assert filled(Notice.subject, message="x") == "run my-run: Failed"
    assert HOSTILE in filled(Notice.text, message=HOSTILE)


def test_a_long_reason_is_cut():
    assert len(json.loads(filled(Notice.payload, message="x" * 10_000))["reason"]) <= 2000


@pytest.mark.parametrize("address", ["ftp://host/secret", "secret", "https:///secret"])
def test_what_is_no_web_address_is_refused_without_being_shown(address):
    with pytest.raises(ConfigError, match="webhook") as refused:
        require_address(address)
    assert "secret" not in str(refused.value)
