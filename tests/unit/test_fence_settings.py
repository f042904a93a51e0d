"""`[fences.NAME]` says what is shut before a database is, and where its secrets come from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.config import load_config
from squizzle.errors import InvalidInputError
from squizzle.postgres.secret import Secret
from squizzle.settings.fences import CommandSettings, KubernetesSettings, PgBouncerSettings, resolve_fence

WHOLE = """
[fences.app]
kind = "kubernetes"
namespace = "shop"
statefulset = "web"
kubeconfig = "config/kube"
context = "east"
pods_gone = "5m"

[fences.pool]
kind = "pgbouncer"
url = "postgresql://admin@pool:6432/pgbouncer"
password_env = "POOL_PASSWORD"
patience = "500ms"

[fences.queue]
kind = "command"
close = ["stop", "it"]
open = ["start"]
timeout = "9s"
secrets = ["TOKEN"]

[environments.staging]
url = "postgresql:///shop"
fences = ["pool", "app"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "squizzle.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_is_read_and_secrets_come_from_the_environment(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, WHOLE))

    environ = {"POOL_PASSWORD": "p", "TOKEN": "t"}
    app, pool, queue = (
        resolve_fence(config.fences[name], "shop", environ=environ) for name in ("app", "pool", "queue")
    )

    assert config.environments["staging"].fences == ("pool", "app")
    assert app == KubernetesSettings(
        namespace="shop",
        name="web",
        workload="statefulset",
        kubeconfig=tmp_path / "config" / "kube",
        context="east",
        pods_gone=timedelta(minutes=5),
    )
    assert isinstance(pool, PgBouncerSettings)
    assert (pool.access.host, pool.access.port, pool.access.user) == ("pool", 6432, "admin")
    assert (pool.access.password, pool.database, pool.patience) == (Secret("p"), "shop", timedelta(seconds=0.5))
    assert queue == CommandSettings(
        name="queue",
        close=("stop", "it"),
        open=("start",),
        timeout=timedelta(seconds=9),
        environment=(("TOKEN", Secret("t")),),
    )


def test_a_variable_that_is_not_set_is_named_with_its_fence(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, WHOLE))
    for name, variable in (("pool", "POOL_PASSWORD"), ("queue", "TOKEN")):
        with pytest.raises(InvalidInputError, match=f"fence '{name}' needs the variable {variable}, which is not set"):
            resolve_fence(config.fences[name], "shop", environ={})


COMMAND = '[fences.f]\nkind = "command"\nopen = ["a"]\n'
POOL = '[fences.f]\nkind = "pgbouncer"\n'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[fences.f]\nkind = "firewall"', "fences.f.kind must be one of kubernetes, pgbouncer, command"),
        ("[fences.f]\nkind = 3", "fences.f.kind must be a text"),
        ('[fences.f]\nkind = "kubernetes"\nnamespace = "n"', "fences.f give either deployment or statefulset"),
        ('[fences.f]\nkind = "kubernetes"\ndeployment = "d"', "fences.f.namespace is missing"),
        (f'{POOL}url = "postgresql://a:s3cret@h/pgbouncer"', "fences.f.url holds a password"),
        (f'{POOL}url = "postgresql://a@h/shop"', "fences.f.url must end with /pgbouncer"),
        (COMMAND, "fences.f needs close and open"),
        (f'{COMMAND}close = "stop it"', "fences.f.close must be a list of texts"),
        (f'{COMMAND}close = ["stop"]\nshell = true', "fences.f has unknown settings: shell"),
        (
            '[environments.e]\nurl = "postgresql:///x"\nfences = ["f"]',
            "environments.e.fences has 'f', and no [fences.f]",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_config(write(tmp_path, text))
    assert what in caught.value.message
    assert "s3cret" not in caught.value.message
