"""Telling people from a flow: each channel is a task of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from blocks import Notifier, WebhookNotifications
from flows.try_channels import try_channels
from squizzle.errors import InvalidInputError
from squizzle.notify.trial import trial_notification
from tasks.outcome import report_of
from tests.flows.conftest import artifacts_of
from tests.support.ears import http_ear
from tests.support.processes import wait_until

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_every_channel_is_a_task_and_one_that_does_not_work_is_named(tmp_path: Path) -> None:
    with http_ear() as ear, http_ear() as prefects:
        WebhookNotifications(url=f"{ear.url}/hook").save("hook", overwrite=True)  # type: ignore[arg-type]
        CustomWebhookNotificationBlock(
            name="ops", url=f"{prefects.url}/prefect", json_data={"said": "{{subject}}"}
        ).save("ops", overwrite=True)
        notifier = Notifier(
            channels={"hook": "webhook-notifications/hook", "ours": "custom-webhook/ops", "gone": "slack-webhook/gone"},
            low=["hook"],
        )
        notifier.save("all", overwrite=True)
        state = try_channels(notifier, tmp_path / "none.toml", return_state=True)
    assert state.is_failed()
    assert state.message == "nobody is told by gone"
    done = {one.channel: one for one in report_of(state)}
    assert {name: one.is_delivered for name, one in done.items()} == {"hook": True, "ours": True, "gone": False}
    assert done["gone"].error == "there is no block slack-webhook/gone"
    assert [one["moment"] for one in ear.documents()] == ["begins", "ends"]
    # The next trial ends the page of one that was killed in between: it is the same one.
    assert {one["key"] for one in ear.documents()} == {trial_notification(datetime.now(UTC)).key}
    assert "[LOW] this is a trial" in prefects.documents()[0]["said"]
    text = str(artifacts_of(state.state_details.flow_run_id)["channels"].data)
    assert "1 of 3 channels do NOT work" in text
    tasks = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:

        def named() -> dict[str, str | None]:
            return {run.name: run.state_name for run in client.read_task_runs(flow_run_filter=tasks)}

        # Prefect puts down what becomes of tasks a little later.
        wait_until(lambda: named().get("notify by gone") == "Failed", "a channel that fails is a task that failed")
        wait_until(lambda: named().get("notify by hook") == "Completed", "one that works is one that completed")


def test_a_notifier_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="the notifier's high names 'fax'"):
        Notifier(channels={"ours": "custom-webhook/ops"}, high=["fax"]).settings()
    with pytest.raises(InvalidInputError, match="there is no block webhook-notifications/lost"):
        Notifier(channels={"hook": "webhook-notifications/lost"}).settings()
