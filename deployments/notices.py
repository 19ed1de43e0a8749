"""Where a message about a failed run goes, and what it says. The address may be a secret: it stays in a Prefect block."""

from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.notifications import NotificationBlock  # its module registers the blocks that are loaded
from prefect.blocks.webhook import Webhook
from prefect.exceptions import ObjectNotFound

from spot_core.errors import ConfigError

BLOCK = "spot-failures"
"""Name of the webhook block that `spot up --notify` makes."""
_REASON_CHARACTERS = 2000
_RUN = "(flow_run.parameters.run_name or flow_run.name)"
# As the event says, not as the flow run is by the time of sending: it may be retried already.
_STATE = "event.resource['prefect.state-name']"
_REASON = (
    f"((event.resource['prefect.state-message'] or 'no reason was given') | truncate({_REASON_CHARACTERS}))"
)
_LINK = "(flow_run | ui_url or '')"


@dataclass(frozen=True)
class Notice:
    """A block that sends, and templates that Prefect's server fills with the run, its flow, state, reason and link."""

    block_document_id: UUID
    webhook: bool
    """True for a webhook, which is sent `payload`; else the block is sent `subject` and `text`."""

    subject = f"run {{{{ {_RUN} }}}}: {{{{ {_STATE} }}}}"
    text = (
        f"run {{{{ {_RUN} }}}} of flow {{{{ flow.name }}}} ended {{{{ {_STATE} }}}}: "
        f"{{{{ {_REASON} }}}}\n{{{{ {_LINK} }}}}"
    )
    payload = (  # `text` is what Slack and those like it show
        f'{{"text": {{{{ ("run " ~ {_RUN} ~ " of flow " ~ flow.name ~ " ended " ~ {_STATE} ~ ": " '
        f'~ {_REASON} ~ "\\n" ~ {_LINK}) | tojson }}}}, '
        f'"run": {{{{ {_RUN} | tojson }}}}, "flow": {{{{ flow.name | tojson }}}}, '
        f'"state": {{{{ {_STATE} | tojson }}}}, "reason": {{{{ {_REASON} | tojson }}}}, '
        f'"link": {{{{ {_LINK} | tojson }}}}}}'
    )


def require_address(url: str) -> None:
    """Refuses what is no web address; the message does not repeat it.

    Raises:
        ConfigError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("--notify: give the address of a webhook, https://… (it is not shown here)")


def to_address(url: str) -> Notice:
    """A webhook of this address, kept in the block `webhook/spot-failures`; one that is so already is left as it is."""
    require_address(url)
    wanted = Webhook(url=url, headers={"Content-Type": "application/json"})
    found = _load(f"webhook/{BLOCK}")
    if not isinstance(found, Webhook) or found.model_dump() != wanted.model_dump():
        wanted.save(BLOCK, overwrite=True, _sync=True)
        found = wanted
    return _notice(found)


def to_block(slug: str) -> Notice:
    """The block ``TYPE/NAME``, for instance ``slack-webhook/my-channel``.

    Raises:
        ConfigError: there is no such block, or it cannot send a message.
    """
    block = _load(slug)
    if block is None:
        raise ConfigError(
            f"--notify-block {slug}: there is no such block on this Prefect server; make one in the UI (Blocks, +), "
            "and give TYPE/NAME, e.g. slack-webhook/my-channel (list: prefect block ls)"
        )
    if not isinstance(block, Webhook | NotificationBlock):
        raise ConfigError(
            f"--notify-block {slug}: a block of this type sends no messages; use a webhook, or a notification block "
            "such as slack-webhook"
        )
    return _notice(block)


def _load(slug: str) -> Block | None:
    if slug.count("/") != 1:
        raise ConfigError(f"--notify-block {slug}: write TYPE/NAME, e.g. slack-webhook/my-channel")
    try:
        return Block.load(slug, _sync=True)
    except ValueError as error:
        if not isinstance(error.__cause__, ObjectNotFound):
            raise
        return None


def _notice(block: Block) -> Notice:
    assert block._block_document_id is not None, "a block that was loaded or saved has a document"
    return Notice(block._block_document_id, webhook=isinstance(block, Webhook))
