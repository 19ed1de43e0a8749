"""A schedule of whole runs, made on request."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from spot_core.errors import ConfigError

DEPLOYMENT = "spot/full"
SLUG = "spot-nightly"


def cron_schedule(cron: str, timezone: str) -> CronSchedule:
    """The times that a cron line names.

    Raises:
        ConfigError: it is no cron line, or there is no such time zone.
    """
    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        said = "; ".join(problem["msg"] for problem in error.errors())
        raise ConfigError(
            f"--schedule {cron!r} --timezone {timezone!r}: {said}. Write minute, hour, day, month and weekday, "
            "e.g. '0 2 * * *', and a zone such as Europe/Berlin"
        ) from error


def apply_schedule(schedule: CronSchedule) -> bool:
    """Makes `spot/full` run at these times; returns False if it does so already.

    Every run has the deployment's own settings and a name of its own. What did not change since the last run is
    reused: only data that is new (its content decides) is worked on. Whether the schedule is active stays as it was
    set in the UI.
    """
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        found = [s for s in client.read_deployment_schedules(deployment.id) if s.slug == SLUG]
        if not found:
            client.create_deployment_schedules(deployment.id, [(schedule, True)], slug=SLUG)
            return True
        [existing] = found
        if existing.schedule == schedule:
            return False
        client.update_deployment_schedule(deployment.id, existing.id, schedule=schedule)
    return True
