"""An application on Kubernetes has no replicas while it is fenced, and exactly as many as before afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.errors import FencingFailedError, FencingUnavailableError, InvalidInputError
from squizzle.postgres.secret import Secret
from squizzle.recovery.fences import kubernetes_client, kubernetes_fence
from squizzle.recovery.fences.kubernetes_fence import FORMER, HOLDS, KubernetesFence
from squizzle.recovery.fences.records import FenceState
from squizzle.settings.fences import KubernetesSettings
from tests.support.holds import hold
from tests.support.kubernetes_api import HANG, NAMESPACE, TOKEN, KubernetesApi, kubernetes_api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    monkeypatch.setattr(kubernetes_fence, "_FIRST_LOOK_S", 0.0)
    with kubernetes_api() as running:
        yield running


@pytest.fixture
def settings(api: KubernetesApi) -> KubernetesSettings:
    return KubernetesSettings(namespace=NAMESPACE, name="web", kubeconfig_text=Secret(api.kubeconfig))


@pytest.fixture
def fence(settings: KubernetesSettings) -> KubernetesFence:
    return KubernetesFence(settings)


@pytest.mark.parametrize("plural", ["deployments", "statefulsets"])
def test_every_pod_has_gone_when_the_fence_is_up_and_as_many_are_asked_for_afterwards(
    api: KubernetesApi, settings: KubernetesSettings, plural: str
) -> None:
    web = api.workload("web", 3, plural=plural, annotations={"team": "shop"})
    fence = KubernetesFence(replace(settings, workload=plural.removesuffix("s")))

    up = fence.put_up(hold())

    assert (web.replicas, web.running(), web.annotations[FORMER]) == (0, [], "3")
    assert up.state is FenceState.FENCED
    assert up.holds == (hold(),)
    assert fence.look().holds == (hold(),)
    down = fence.take_down("recovery")
    assert (web.replicas, web.annotations) == (3, {"team": "shop"})
    assert (down.state, down.detail) == (FenceState.OPEN, "3 replicas again")


def test_a_second_fence_does_not_take_the_zero_for_the_number_of_before(
    api: KubernetesApi, fence: KubernetesFence
) -> None:
    web = api.workload("web", 3)
    fence.put_up(hold("first"))
    fence.put_up(hold("second"))
    fence.put_up(hold("second", "again"))
    assert [(one.holder, one.reason) for one in fence.look().holds] == [("first", "a test"), ("second", "a test")]

    kept = fence.take_down("first")

    assert (web.replicas, kept.state, kept.holds) == (0, FenceState.FENCED, (hold("second"),))
    fence.take_down("second")
    assert (web.replicas, web.annotations) == (3, {})


def test_what_had_no_replicas_before_gets_none(api: KubernetesApi, fence: KubernetesFence) -> None:
    web = api.workload("web", 0)
    fence.put_up(hold())
    assert web.annotations[FORMER] == "0"
    assert "before" in fence.take_down("recovery").detail
    assert (web.replicas, web.annotations) == (0, {})


def test_a_status_that_says_zero_is_not_believed_while_pods_end(api: KubernetesApi, fence: KubernetesFence) -> None:
    web = api.workload("web", 2, grace=9)
    fence.put_up(hold())
    assert web.ending == {}
    assert api.requests.count("GET pods") > 9


def test_pods_that_a_controller_has_not_made_yet_are_waited_for_too(api: KubernetesApi, fence: KubernetesFence) -> None:
    web = api.workload("web", 2, lag=3)
    web.pods, web.generation = [], 2  # somebody has just scaled it up from 0
    fence.put_up(hold())
    assert web.observed == web.generation


def test_pods_that_do_not_go_are_named_and_a_repetition_goes_on_waiting(
    api: KubernetesApi, settings: KubernetesSettings
) -> None:
    web = api.workload("web", 1, lag=0, grace=1_000_000)
    fence = KubernetesFence(replace(settings, pods_gone=timedelta(seconds=0.05)))

    with pytest.raises(FencingUnavailableError, match=r"has gone within 0\.05 s: web-0") as caught:
        fence.put_up(hold())

    assert caught.value.retryable
    assert (web.replicas, web.annotations[FORMER]) == (0, "1")
    web.ending = {}
    assert fence.put_up(hold()).state is FenceState.FENCED
    assert web.annotations[FORMER] == "1"


def test_somebody_elses_change_in_between_is_read_and_respected(api: KubernetesApi, fence: KubernetesFence) -> None:
    web = api.workload("web", 3)
    api.meddle = ["a", "b"]
    fence.put_up(hold())
    assert set(web.annotations) == {"a", "b", FORMER, HOLDS}
    api.meddle = list("cdefghijk")
    with pytest.raises(FencingUnavailableError, match="changed by somebody else 5 times"):
        fence.take_down("recovery")
    assert web.replicas == 0
    api.meddle = []
    fence.take_down("recovery")
    assert web.replicas == 3


def test_what_is_scaled_up_again_behind_our_back_is_no_fence(api: KubernetesApi, fence: KubernetesFence) -> None:
    web = api.workload("web", 3)
    fence.put_up(hold())
    web.replicas = 5
    assert fence.look().state is FenceState.OPEN
    fence.put_up(hold())
    assert (web.replicas, web.annotations[FORMER]) == (0, "3")
    web.replicas = 5
    assert "scaled it to 5" in fence.take_down("recovery").detail
    assert (web.replicas, web.annotations) == (5, {})


def test_a_controller_that_insists_on_its_number_is_told(
    api: KubernetesApi, fence: KubernetesFence, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = api.workload("web", 3)
    monkeypatch.setattr(web, "look", lambda: setattr(web, "replicas", 3))
    with pytest.raises(FencingFailedError, match="scaled it to 3 again; it is noted as fenced, and it is not"):
        fence.put_up(hold())


@pytest.mark.parametrize(
    ("least", "says"), [(2, "autoscaler web-scaler (2 to 9) rests"), (None, "(1 to 9) rests"), (0, "MAY SCALE IT UP")]
)
def test_an_autoscaler_is_told_and_left_alone(
    api: KubernetesApi, fence: KubernetesFence, least: int | None, says: str
) -> None:
    api.workload("web", 4)
    api.autoscalers = {"web-scaler": ("web", least, 9), "other-scaler": ("other", 1, 2)}
    detail = fence.put_up(hold()).detail
    assert says in detail
    assert "other" not in detail


def test_who_may_not_see_autoscalers_fences_and_is_told(api: KubernetesApi, fence: KubernetesFence) -> None:
    api.workload("web", 1)
    api.forbidden = {"horizontalpodautoscalers"}
    assert "could not be read" in fence.put_up(hold()).detail


@pytest.mark.parametrize(
    ("status", "is_worth_it", "says"),
    [(401, False, "credentials"), (403, False, "list on pods"), (422, False, "complains"), (503, True, "same again")],
)
def test_a_refusal_leaves_everything_as_it_was(
    api: KubernetesApi, fence: KubernetesFence, status: int, *, is_worth_it: bool, says: str
) -> None:
    web = api.workload("web", 3)
    api.faults = {"PATCH": [status]}
    with pytest.raises(FencingFailedError, match=rf"could not patch .*shop/web: planted \({status}\)") as caught:
        fence.put_up(hold())
    assert caught.value.retryable is is_worth_it
    assert says in caught.value.hint
    assert (web.replicas, web.annotations) == (3, {})


def test_a_lost_answer_is_told_as_one_and_a_repetition_sees_what_was_done(
    api: KubernetesApi, fence: KubernetesFence, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = api.workload("web", 3)
    api.faults = {"PATCH": [HANG]}
    monkeypatch.setattr(kubernetes_client, "_ANSWER_S", 0.2)
    with pytest.raises(FencingUnavailableError, match="may or may not have been made"):
        fence.put_up(hold())
    monkeypatch.setattr(kubernetes_client, "_ANSWER_S", 20.0)
    assert (web.replicas, web.annotations[FORMER]) == (0, "3")
    fence.put_up(hold())
    fence.take_down("recovery")
    assert web.replicas == 3


def test_what_is_not_there_is_told(settings: KubernetesSettings) -> None:
    with pytest.raises(FencingFailedError, match="not found") as caught:
        KubernetesFence(settings).put_up(hold())
    assert "namespace" in caught.value.hint


def test_taking_down_what_nobody_noted_changes_nothing(api: KubernetesApi, fence: KubernetesFence) -> None:
    web = api.workload("web", 0)
    down = fence.take_down(None)
    assert (down.state, down.detail) == (
        FenceState.FENCED,
        "whoever scaled it to 0 has left no note of how many there were: kubectl scale",
    )
    assert "PATCH deployments" not in api.requests
    assert web.replicas == 0


@pytest.mark.parametrize(
    "annotations", [{FORMER: "three"}, {FORMER: "3", HOLDS: "nobody"}, {FORMER: "3", HOLDS: "[1]"}]
)
def test_a_note_that_was_changed_by_hand_is_not_guessed_at(
    api: KubernetesApi, fence: KubernetesFence, annotations: dict[str, str]
) -> None:
    web = api.workload("web", 0, annotations=dict(annotations))
    for act in (lambda: fence.put_up(hold()), lambda: fence.take_down(None), fence.look):
        with pytest.raises(FencingFailedError, match="squizzle/") as caught:
            act()
        assert "by hand" in caught.value.hint
    assert (web.replicas, web.annotations) == (0, annotations)


def test_a_kubeconfig_that_cannot_be_used_is_refused_without_its_token(
    api: KubernetesApi, settings: KubernetesSettings
) -> None:
    broken = json.loads(api.kubeconfig)
    del broken["contexts"]
    for text in (json.dumps(broken), f"users: [{TOKEN}", ""):
        with pytest.raises(InvalidInputError, match="the kubeconfig for shop/web cannot be used") as caught:
            KubernetesFence(replace(settings, kubeconfig_text=Secret(text))).look()
        assert TOKEN not in f"{caught.value.message}{caught.value.hint}"
        assert caught.value.__cause__ is None
