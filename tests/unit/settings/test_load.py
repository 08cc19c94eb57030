"""What the settings file may say, and how every mistake is told with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.kafka_replication_spec import Delivery, OnRejectedRecord, Timestamps
from smartconnect.domain.policies import OnGap
from smartconnect.domain.secret import Secret
from smartconnect.settings import Settings
from smartconnect.settings_load import fingerprint, load, secrets_in_file, secrets_of

GOOD = """
[api]
listen = "127.0.0.1:8080"
auth = "aksk"
[[api.access_keys]]
access_key = "AK"
secret_key = "SK-text"
project_ids = ["*"]
[[api.tokens]]
token_env = "SMARTCONNECT_TOKEN"
expires = 2027-01-01T00:00:00Z
[control]
max_tasks = 5
[registry]
url = "sqlite:///smart-connect.db"
[workers]
count = 2
[[instances]]
id = "i1"
project_id = "p"
name = "orders"
bootstrap_servers = "127.0.0.1:9092"
security_protocol = "SASL_PLAINTEXT"
user_name = "u"
password_file = "PASSWORD_FILE"
[[redis_instances]]
id = "r1"
redis_address = "127.0.0.1:6379"
[obs]
endpoint = "http://127.0.0.1:7070"
[obs.buckets.archive]
endpoint = "https://elsewhere"
[obs_dump]
memory_mb = 128
"""
ENVIRONMENT = {"SMARTCONNECT_TOKEN": "token-text"}


def _load(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    password = tmp_path / "password"
    password.write_text("from-file\n")
    file = tmp_path / "smart-connect.toml"
    file.write_text(text.replace("PASSWORD_FILE", str(password)))
    return load(file, ENVIRONMENT if environment is None else environment)


def _problems(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        _load(tmp_path, text, environment)
    return str(caught.value)


def test_whole_file_is_read_with_secrets_from_file_and_environment(tmp_path: Path) -> None:
    settings = _load(tmp_path, GOOD)
    assert settings.instances[0].password == Secret("from-file")
    assert settings.api.tokens[0].token == Secret("token-text")
    assert settings.api.access_keys[0].secret_key == Secret("SK-text")
    assert settings.obs.location_of("archive").endpoint == "https://elsewhere"
    assert settings.obs.location_of("other").endpoint == "http://127.0.0.1:7070"
    assert settings.obs_dump.memory_mb == 128
    assert settings.instance("i1") is settings.instances[0]
    assert settings.instance("i2") is None


def test_no_secret_is_in_any_repr_or_dump(tmp_path: Path) -> None:
    settings = _load(tmp_path, GOOD)
    shown = repr(settings) + str(settings) + settings.model_dump_json() + str(settings.model_dump())
    for secret in ("SK-text", "token-text", "from-file"):
        assert secret not in shown
    assert {secret.reveal() for secret in secrets_of(settings)} == {"SK-text", "token-text", "from-file"}


def test_environment_goes_before_the_file(tmp_path: Path) -> None:
    more = {"SMARTCONNECT_CONTROL__MAX_TASKS": "7", "SMARTCONNECT_CONTROL__ALLOWED_TARGETS": '["10.0.0.0/8"]'}
    settings = _load(tmp_path, GOOD, ENVIRONMENT | more | {"SMARTCONNECT_REGISTRY__KEY_ENV": "K", "K": "key-text"})
    assert settings.control.max_tasks == 7
    assert settings.control.allowed_targets == ("10.0.0.0/8",)
    assert settings.registry.key == Secret("key-text")


def test_every_problem_is_told_at_once_with_its_key(tmp_path: Path) -> None:
    text = GOOD.replace("max_tasks = 5", "max_tasks = 0\nmax_task = 3").replace('auth = "aksk"', 'auth = "basic"')
    text = text.replace("memory_mb = 128", "memory_mb = 1").replace('bootstrap_servers = "127.0.0.1:9092"', "")
    problems = _problems(tmp_path, text, {})
    for key in ("control.max_tasks", "control.max_task: there is no such key", "api.auth", "obs_dump.memory_mb"):
        assert key in problems
    assert "instances[0].bootstrap_servers: is needed" in problems
    assert "api.tokens[0].token_env: the environment has no variable SMARTCONNECT_TOKEN" in problems


@pytest.mark.parametrize(
    ("change", "with_", "told"),
    [
        ('listen = "127.0.0.1:8080"', 'listen = "0.0.0.0:8080"', "api.listen: 0.0.0.0:8080 is beyond loopback without TLS"),
        ('listen = "127.0.0.1:8080"', 'listen = "8080"', "api.listen: '8080' is not host:port"),
        ('listen = "127.0.0.1:8080"', 'listen = "127.0.0.1:8080"\ntls_cert_file = "c"', "api.tls_cert_file"),
        (
            'listen = "127.0.0.1:8080"\nauth = "aksk"',
            'listen = "10.0.0.1:80"\nbehind_proxy = true\nauth = "none"',
            'api.auth: "none" is only accepted on a loopback address',
        ),
        (
            "[obs]\n",
            '[[instances]]\nid="i1"\nproject_id="p"\nbootstrap_servers="h:1"\n[obs]\n',
            "instances[1].id: 'i1' is there twice",
        ),
        ('user_name = "u"', "", "instances[0].user_name: security_protocol SASL_PLAINTEXT needs user_name and password"),
        ("count = 2", 'count = 2\ncoordination = "kafka"', "coordination.bootstrap_servers"),
        ('access_key = "AK"\nsecret_key = "SK-text"', 'access_key = "AK"\nsecret_key = ""', "api.access_keys[0].secret_key"),
        (
            'token_env = "SMARTCONNECT_TOKEN"',
            'token_env = "SMARTCONNECT_TOKEN"\ntoken = "x"',
            "api.tokens[0].token: is given in more",
        ),
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00", "api.tokens[0].expires"),
    ],
)
def test_rule_between_keys_is_told(tmp_path: Path, change: str, with_: str, told: str) -> None:
    assert change in GOOD
    assert told in _problems(tmp_path, GOOD.replace(change, with_))


@pytest.mark.parametrize(
    "api",
    [
        'listen = "0.0.0.0:1"\nbehind_proxy = true\nauth = "aksk"',
        'listen = "0.0.0.0:1"\ntls_cert_file = "c"\ntls_key_file = "k"\nauth = "aksk"',
        'listen = "[::1]:1"\nauth = "none"',
        'listen = "localhost:1"\nauth = "none"',
    ],
)
def test_acceptable_listener_is_accepted(tmp_path: Path, api: str) -> None:
    settings = _load(tmp_path, GOOD.replace('listen = "127.0.0.1:8080"\nauth = "aksk"', api))
    assert settings.api.address()[1] == 1


def test_problem_never_shows_the_secret_itself(tmp_path: Path) -> None:
    text = GOOD.replace('password_file = "PASSWORD_FILE"', 'password = "canary-secret"\npassword_env = "X"').replace(
        "count = 2", "count = 0"
    )
    assert "canary-secret" not in _problems(tmp_path, text)


def test_missing_file_and_broken_toml_are_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="there is no such file; name it with --config"):
        load(tmp_path / "nothing.toml", {})
    assert "is not TOML" in _problems(tmp_path, "[api\n")


def test_unknown_section_in_the_environment_is_told(tmp_path: Path) -> None:
    assert "SMARTCONNECT_APY__LISTEN" in _problems(tmp_path, GOOD, ENVIRONMENT | {"SMARTCONNECT_APY__LISTEN": "x"})


def test_fingerprint_changes_with_a_secret_and_with_nothing_else_alike(tmp_path: Path) -> None:
    same = fingerprint(_load(tmp_path, GOOD))
    assert same == fingerprint(_load(tmp_path, GOOD + "\n# a comment\n"))
    assert same != fingerprint(_load(tmp_path, GOOD.replace("SK-text", "SK-other")))
    assert same != fingerprint(_load(tmp_path, GOOD.replace("max_tasks = 5", "max_tasks = 6")))
    assert len(same) == 12


def test_the_section_of_kafka_replication_as_the_specification_writes_it(tmp_path: Path) -> None:
    section = """
[kafka_replication]
delivery = "at_least_once"
commit_min_ms = 20
commit_interval_ms = 200
transaction_timeout_ms = 30000
refresh_interval_s = 10
config_sync_interval_s = 60
group_sync_interval_s = 10
groups_include = ".*"
groups_exclude = "console-consumer-.*,connect-.*,__.*"
sync_topic_configs = false
on_gap = "stop"
on_rejected_record = "clamp"
timestamps = "producer"
buffer_mb = 64
produce_connections = 2
mm2_topics = false
heartbeats = false
peer_ca_file = "/etc/ca.pem"
"""
    read = _load(tmp_path, GOOD + section).kafka_replication
    assert read.delivery is Delivery.AT_LEAST_ONCE
    assert (read.on_gap, read.on_rejected_record, read.timestamps) == (OnGap.STOP, OnRejectedRecord.CLAMP, Timestamps.PRODUCER)
    assert (read.buffer_mb, read.peer_ca_file, read.step_log) == (64, "/etc/ca.pem", "")
    wrong = section.replace("buffer_mb = 64", "buffer_mb = 1\nbuffer = 2").replace('"at_least_once"', '"twice"')
    problems = _problems(tmp_path, GOOD + wrong)
    for key in ("kafka_replication.delivery", "kafka_replication.buffer_mb", "kafka_replication.buffer: there is no such key"):
        assert key in problems


def test_only_secrets_that_stand_in_the_file_itself_are_found_in_it(tmp_path: Path) -> None:
    _load(tmp_path, GOOD)
    assert list(secrets_in_file(tmp_path / "smart-connect.toml")) == ["api.access_keys[0].secret_key"]
