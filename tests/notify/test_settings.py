"""Settings of notification: what is wrong is refused with its name; secrets are only for who notifies."""

import tomllib
from pathlib import Path

import pytest

from monitor.config import parse, secret
from monitor.errors import InvalidConfiguration
from monitor.notify.service import opened, own_config, rehearsed
from monitor.notify.telemetry import EVENTS, Metrics
from monitor.telemetry import EVENTS as DAEMON_EVENTS
from monitor.telemetry import metric_table

PAGER = {"name": "pager", "kind": "pagerduty", "routing_key": "k"}
HOOK = {"name": "hook", "kind": "webhook", "url": "https://example.com/hook"}


def config(*endpoints, base=None, **notify):
    document = {"notify": {"endpoints": list(endpoints)} | notify}
    return parse(document) if base is None else parse(document, base)


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ({"kind": "pagerduty"}, "routing_key"),
        ({"kind": "webhook"}, "needs `url`"),
        ({"kind": "webhook", "url": "example.com"}, "http:// or https://"),
        ({"kind": "webhook", "url": "file:///etc/passwd"}, "http:// or https://"),
        ({"kind": "alertmanager", "url": "http://"}, "http:// or https://"),
        ({"kind": "apprise", "url": "slack"}, "no scheme"),
        ({"kind": "smoke", "url": "http://h"}, "kind"),
        ({"kind": "webhook", "url": "http://h", "routing_key": "k"}, "`routing_key` is for pagerduty"),
        ({"kind": "pagerduty", "routing_key": "k", "secret": "s"}, "`secret` is for webhook"),
        ({"kind": "apprise", "url": "json://h", "headers": {"a": "b"}}, "`headers` is for"),
        ({"kind": "webhook", "url": "http://h", "rate_per_minute": 0}, "rate_per_minute"),
        ({"kind": "webhook", "url": "http://h", "colour": "red"}, "colour"),
        ({"kind": "webhook", "url": "http://h", "name": "a b"}, "name"),
        ({"kind": "webhook", "url": "http://h", "min_priority": "urgent"}, "min_priority"),
    ],
)
def test_endpoint_that_cannot_work_is_refused_with_what_is_wrong(endpoint, text):
    with pytest.raises(InvalidConfiguration) as error:
        config({"name": "e"} | endpoint)
    assert "notify.endpoints" in str(error.value)
    assert text in str(error.value)


def test_name_that_stands_twice_is_refused():
    with pytest.raises(InvalidConfiguration, match="'pager' stands twice"):
        config(PAGER, PAGER)


@pytest.mark.parametrize(
    "table",
    [{"order_wait_s": -1}, {"figures": {"operators": 0}}, {"grouping": {"window_s": -1}}, {"telemetry_port": 99999}],
)
def test_other_settings_have_their_bounds(table):
    with pytest.raises(InvalidConfiguration, match=next(iter(table))):
        config(**table)


def test_secrets_are_read_by_who_notifies_and_files_lie_beside_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "key.txt").write_text("from-file\n")
    monkeypatch.setenv("TOCSIN_TEST_TOKEN", "from-env")
    pager = PAGER | {"routing_key": {"file": "key.txt"}}
    hook = HOOK | {"headers": {"Authorization": {"env": "TOCSIN_TEST_TOKEN"}}, "secret": {"env": "TOCSIN_TEST_TOKEN"}}
    loaded = config(pager, hook, base=tmp_path)
    assert loaded.notify.endpoints[1].secret == {"env": "TOCSIN_TEST_TOKEN"}
    first, second = opened(loaded)
    assert first.routing_key == "from-file"
    assert (second.headers, second.secret) == ({"Authorization": "from-env"}, "from-env")


@pytest.mark.parametrize("value", [{"env": "TOCSIN_TEST_NO_SUCH"}, {"file": "no-such"}, {"vault": "x"}])
def test_secret_that_cannot_be_had_is_refused_only_when_it_is_needed(value, tmp_path):
    loaded = config(PAGER | {"routing_key": value}, base=tmp_path)
    with pytest.raises(InvalidConfiguration, match=r"notify\.endpoints: 'pager': routing_key: "):
        opened(loaded)


def test_secret_address_that_is_none_is_refused_without_being_told(monkeypatch):
    monkeypatch.setenv("TOCSIN_TEST_URL", "hush-hush")
    with pytest.raises(InvalidConfiguration) as error:
        opened(config(HOOK | {"url": {"env": "TOCSIN_TEST_URL"}}))
    assert "hush" not in str(error.value)


def test_process_is_a_member_of_a_group_of_its_own_on_the_anomalies():
    own = own_config(config(group="watch", instance_id="n1", telemetry_port=1))
    assert (own.delivery.group, own.delivery.instance_id, own.telemetry.port) == ("watch", "n1", 1)
    assert own.topics.readings == own.topics.anomalies == "tocsin.anomalies"
    assert own_config(config()).delivery.group == "tocsin-notify"


def test_endpoint_that_does_not_exist_cannot_be_tested():
    with pytest.raises(InvalidConfiguration, match="there are: pager, hook"):
        list(rehearsed(config(PAGER, HOOK), "x"))


def test_secret_function_leaves_others_as_they_are():
    assert secret("x", "plain") == "plain"


def test_metrics_and_events_have_names_of_their_own():
    ours, daemons = metric_table(Metrics()), metric_table()
    assert not {row[0] for row in ours} & {row[0] for row in daemons}
    assert all(name.startswith(("tocsin_notify_", "tocsin_alarms_")) and text for name, _, _, text in ours)
    assert {label for row in ours for label in row[2].split(", ") if label} <= {"endpoint", "priority", "transition"}
    assert not EVENTS.keys() & DAEMON_EVENTS.keys()


def test_example_on_the_page_is_valid():
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    loaded = parse(tomllib.loads(example))
    assert [each.kind for each in loaded.notify.endpoints] == ["alertmanager", "pagerduty", "webhook", "apprise"]
