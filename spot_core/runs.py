"""A run: a name, its configuration, and which artifacts it uses. Lives in ``<store>/runs/<run_name>``."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from spot_core.config.spot import STAGES, SpotConfig, valid_run_name
from spot_core.errors import ConfigError, PersonNeededError
from spot_core.store import Artifact, ArtifactStore, Recipe

log = logging.getLogger(__name__)


class UsedArtifact(BaseModel):
    """An artifact that a run used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str = Field(pattern=r"^[a-z][a-z_-]*$")
    key: str = Field(pattern=r"^[0-9a-f]{16}$")
    generation: int = Field(ge=0)
    digest: str
    rows: int
    seconds: float
    """Wall time that making it took, in whichever run that was."""
    reused: bool
    """True if it was there before this run needed it."""
    cost_usd: float | None = None
    """What making it cost, in whichever run that was; None if it asks nobody who is paid."""


class Wait(BaseModel):
    """What a stage needs a person for: a `PersonNeededError`, written down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: str
    page: str
    wait_days: float
    key: str | None


class RunRecord(BaseModel):
    """What ``run.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    run_name: Annotated[str, AfterValidator(valid_run_name)]
    created: str
    config: dict[str, Any]
    refresh: list[str] = Field(default_factory=list)
    """Stages of which this run makes a new generation."""
    targets: dict[str, int] = Field(default_factory=dict)
    """Lowest generation this run accepts, by ``stage/key``; set once, so that a retry does not refresh again."""
    heard: list[str] = Field(default_factory=list)
    """Who has told what to make anew, by ids: a flow run that is retried does not tell it again."""
    used: dict[str, UsedArtifact] = Field(default_factory=dict)
    """Artifacts by their name within the run, such as ``rollout`` or ``evaluate/after/chains``."""
    skipped: dict[str, str] = Field(default_factory=dict)
    """Stages that were not needed, with the reason."""
    confirmed: list[str] = Field(default_factory=list)
    """What a person has agreed to, by the keys of `PersonNeededError`."""
    waits: dict[str, Wait] = Field(default_factory=dict)
    """What a stage that stopped needs a person for: from one process to the next."""


class Run:
    """A run opened from its folder."""

    def __init__(self, store: ArtifactStore, record: RunRecord, *, writable: bool = True) -> None:
        self.store = store
        self.record = record
        self._writable = writable
        self.config = _settings(record, store)

    @property
    def name(self) -> str:
        return self.record.run_name

    @property
    def folder(self) -> Path:
        """Folder on this machine; `publish` gives what is written there to others."""
        return self.store.root / "runs" / self.name

    @classmethod
    def create(cls, config: SpotConfig, run_name: str, *, refresh: tuple[str, ...] = ()) -> Self:
        """Starts a run, or goes on with the one of this name if its configuration is the same.

        ``refresh`` names stages to make anew. Once the run has begun to, going on with it does not begin again.

        Raises:
            ConfigError: a run of this name has another configuration, or a stage to refresh does not exist.
        """
        _require_stages(refresh)
        valid_run_name(run_name)
        store = ArtifactStore(config.store)
        document = config.model_dump(mode="json")

        def begun(text: str | None) -> str:
            if text is None:
                record = RunRecord(
                    run_name=run_name,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    config=document,
                    refresh=list(refresh),
                )
                return _text(record)
            record = _parsed(text, store, run_name)
            before, now = _settings(record, store).identity(), config.identity()
            if differing := sorted(k for k in now if now[k] != before[k]):
                raise ConfigError(
                    f"run_name = {run_name!r} is taken by a run with other settings (in {', '.join(differing)}): "
                    "choose another name; artifacts are shared between runs all the same"
                )
            record.refresh += [stage for stage in refresh if stage not in record.refresh]
            record.config = document  # it may be run elsewhere, or faster, than before
            return _text(record)

        text = store.update_document(_document(run_name), begun)
        return cls(store, _parsed(text, store, run_name))

    @classmethod
    def open(cls, store: str | Path, run_name: str) -> Self:
        """Opens a run that exists.

        Raises:
            ConfigError: it does not; the message lists the latest ones.
        """
        valid_run_name(run_name)
        opened = ArtifactStore(store)
        text = opened.read_document(_document(run_name))
        if text is None:
            latest = ", ".join(opened.runs()[:5]) or "none yet"
            raise ConfigError(
                f"run_name = {run_name!r}: no such run in {opened.location} (latest runs: {latest})"
            )
        return cls(opened, _parsed(text, opened, run_name))

    @classmethod
    def rehearse(
        cls, config: SpotConfig, run_name: str = "dry-run", *, refresh: tuple[str, ...] = ()
    ) -> Self:
        """A run that leaves no trace in the store, for a dry run."""
        _require_stages(refresh)
        record = RunRecord(
            run_name=run_name, created="", config=config.model_dump(mode="json"), refresh=list(refresh)
        )
        return cls(ArtifactStore(config.store), record, writable=False)

    def _change(self, change: Callable[[RunRecord], None]) -> None:
        """Changes the record as it is now, whoever changed it since this run was opened."""
        if not self._writable:
            change(self.record)
            return

        def changed(text: str | None) -> str:
            record = self.record if text is None else _parsed(text, self.store, self.name)
            change(record)
            return _text(record)

        text = self.store.update_document(_document(self.name), changed)
        self.record = _parsed(text, self.store, self.name)

    def publish(self) -> None:
        """Gives the files in the run's folder (summary, report, logs, exports) to all who use the store."""
        if self._writable and self.folder.exists():
            self.store.publish(self.folder)

    def confirm(self, key: str) -> None:
        """Notes that a person has agreed to what `PersonNeededError` asked for under this key."""

        def agree(record: RunRecord) -> None:
            if key not in record.confirmed:
                record.confirmed.append(key)

        self._change(agree)

    def wait(self, stage: str, needed: PersonNeededError) -> None:
        """Notes what a stage needs a person for."""
        wait = Wait(message=str(needed), page=needed.page, wait_days=needed.wait_days, key=needed.key)
        self._change(lambda record: record.waits.update({stage: wait}))

    def target(self, recipe: Recipe) -> int:
        """Lowest generation of an artifact that this run accepts."""
        return self.record.targets.get(f"{recipe.stage}/{recipe.key}", 0)

    def ask_anew(self, recipe: Recipe, *, again: bool = False) -> None:
        """Makes this run want a new generation of an artifact; once, unless ``again``."""
        name = f"{recipe.stage}/{recipe.key}"
        if again or name not in self.record.targets:
            target = self.store.next_generation(recipe)
            self._change(lambda record: record.targets.update({name: target}))

    def want_anew(self, stages: tuple[str, ...], *, told_by: str) -> None:
        """Makes this run want new generations of these stages' artifacts, and of no others any more; once for each teller."""
        _require_stages(stages)

        def want(record: RunRecord) -> None:
            if told_by in record.heard:
                return
            record.heard.append(told_by)
            record.refresh = list(stages)
            kept = {key: target for key, target in record.targets.items() if key.split("/")[0] not in stages}
            record.targets = kept

        self._change(want)

    def hear(self, told_by: str) -> None:
        """Notes that all was asked for that this teller wants anew."""
        self._change(lambda record: record.heard.append(told_by))

    def use(self, name: str, artifact: Artifact, *, reused: bool) -> None:
        """Records which artifact the run used; the first word on ``reused`` stays for the same artifact."""

        def note(record: RunRecord) -> None:
            before = record.used.get(name)
            record.skipped.pop(name.split("/", maxsplit=1)[0], None)
            same = before is not None and (before.key, before.generation) == (
                artifact.key,
                artifact.generation,
            )
            record.used[name] = UsedArtifact(
                stage=artifact.stage,
                key=artifact.key,
                generation=artifact.generation,
                digest=artifact.digest,
                rows=artifact.rows,
                seconds=artifact.manifest.seconds,
                reused=before.reused if before is not None and same else reused,
                cost_usd=artifact.statistics.get("cost_usd"),
            )

        self._change(note)

    def skip(self, stage: str, reason: str) -> None:
        """Records that a stage was not needed."""
        self._change(lambda record: record.skipped.update({stage: reason}))


def used_artifacts(store: ArtifactStore) -> set[tuple[str, str, int]]:
    """Stage, key and generation of every artifact that a run of the store uses.

    Raises:
        ConfigError: the record of a run cannot be read; what it uses is not known then.
    """
    documents = {name: store.read_document(_document(name)) for name in store.runs()}
    return {
        (used.stage, used.key, used.generation)
        for name, text in documents.items()
        if text is not None
        for used in _parsed(text, store, name).used.values()
    }


def _require_stages(names: tuple[str, ...]) -> None:
    if unknown := sorted(set(names) - set(STAGES)):
        raise ConfigError(f"refresh names {', '.join(unknown)}: the stages are {', '.join(STAGES)}")


def _document(run_name: str) -> str:
    return f"runs/{run_name}/run.json"


def _text(record: RunRecord) -> str:
    return record.model_dump_json(indent=1) + "\n"


def _parsed(text: str, store: ArtifactStore, run_name: str) -> RunRecord:
    try:
        return RunRecord.model_validate_json(text)
    except ValueError as error:
        raise ConfigError(f"{store.location}/{_document(run_name)} is not a run record: {error}") from error


def _settings(record: RunRecord, store: ArtifactStore) -> SpotConfig:
    try:
        return SpotConfig.model_validate(record.config)
    except ValueError as error:
        raise ConfigError(
            f"{store.location}/{_document(record.run_name)} holds settings that this version does not take: {error}\n"
            "Choose another run name; artifacts are shared between runs all the same"
        ) from error
