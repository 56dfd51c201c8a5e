"""The alerts and the dashboard speak of metrics that the daemon has, by labels that these carry."""

import json
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import OperatorMustAct
from emailsync.domain.runs import Outcome, RunRecord, RunResult, SyncCounts
from emailsync.metrics import Metrics, StoreGauges
from jobs import job_of

SYSTEMD = Path(__file__).parents[2] / "systemd"
ALERTS = SYSTEMD / "prometheus-alerts.yml"
DASHBOARD = SYSTEMD / "grafana-dashboard.json"
AT = datetime(2026, 1, 2, tzinfo=UTC)

OF_PROMETHEUS = {"up": {"job", "instance"}}
SELECTOR = re.compile(r"(?<!\w)([a-z_][a-z0-9_]*)(?:\{([^}]*)\}|(?=[\[\s)<>=]|$))")
WORDS = {"by", "or", "and", "sum", "max", "min"}  #: of PromQL, where a metric's name could stand
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def alerts() -> list[Mapping[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[Mapping[str, Any]] = group["rules"]
    return rules


def panels() -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


EXPRESSIONS = [rule["expr"] for rule in alerts()] + [
    target["expr"] for panel in panels() for target in panel["targets"]
]


@pytest.fixture(scope="module")
def labels() -> Mapping[str, Collection[str]]:
    """The labels of every series of a daemon that has seen a bit of everything."""
    metrics = Metrics()
    failed = Outcome(result=RunResult.RETRY, next_sync_at=AT, attempt=1, error_class="Unreachable")
    metrics.job_started(job_of("acme"))
    metrics.job_finished(
        job_of("acme"),
        RunRecord(
            started_at=AT,
            duration=timedelta(seconds=1),
            attempt=1,
            outcome=failed,
            counts=SyncCounts(),
        ),
        at=AT,
    )
    metrics.store_read(
        StoreGauges(
            lag_s={},
            circuits={("imap", "endpoint", "OPEN"): 1},
            accounts={("imap", "active"): 1},
            stalled={ProviderType.IMAP: 1},
            unsynced_s={},
            unexplained_folders=0,
            quarantined=0,
        )
    )
    return OF_PROMETHEUS | {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(plain_counters(metrics))
        for sample in family.samples
    }


def plain_counters(metrics: Metrics) -> str:
    """Return the page for a parser that would add `_total` to counters that go without it."""
    return metrics.exposition().decode().replace(" counter\n", " gauge\n")


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric of an expression with the labels it is selected by."""
    without_groups = GROUPED.sub("", expression)
    for name, chosen in SELECTOR.findall(without_groups):
        if name not in WORDS:
            yield name, set(re.findall(r"([a-z_]+)\s*[=!]", chosen))


def test_a_selector_is_found_wherever_it_stands() -> None:
    """Otherwise the next test would pass for want of anything to look at."""
    expression = 'sum by (le) (rate(none_such[5m])) / up{wrong="x",job!="y"} > 2e9 or other'

    assert dict(selectors(expression)) == {
        "none_such": set(),
        "up": {"wrong", "job"},
        "other": set(),
    }


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(
    expression: str, labels: Mapping[str, Collection[str]]
) -> None:
    found = list(selectors(expression))

    assert found
    carried: set[str] = set()
    for name, chosen in found:
        assert name in labels, f"the daemon has no {name}"
        assert chosen <= set(labels[name])
        carried |= set(labels[name])
    for group in GROUPED.findall(expression):
        assert set(group.split(", ")) <= carried


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_class_that_alarms_the_operator_is_the_one_that_is_counted() -> None:
    (rule,) = [rule for rule in alerts() if rule["alert"] == "EmailsyncOperatorMustAct"]

    assert f'error_type="{OperatorMustAct.__name__}"' in rule["expr"]


def test_no_panel_lies_on_another() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)


def test_prometheus_accepts_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(EXPRESSIONS)]
    file = tmp_path / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))

    for each in (file, ALERTS):
        checked = promtool("check", "rules", each)
        assert checked.returncode == 0, checked.stderr


FIRES = {
    "EmailsyncStalled": ('email_sync_stalled_accounts{provider_type="imap"}', "3x30"),
    "EmailsyncDatabaseUnavailable": ("email_sync_database_up", "0x30"),
    "EmailsyncServerDown": (
        'circuit_breaker_state{provider_type="imap",scope="endpoint",state="OPEN"}',
        "1x30",
    ),
    "EmailsyncUrgentQueueLate": ('queue_lag_seconds{priority="high"}', "1000x30"),
    "EmailsyncOperatorMustAct": (
        'sync_jobs_failed{provider_type="google",error_type="OperatorMustAct"}',
        "0+1x30",
    ),
    "EmailsyncReloadRefused": ("config_reload_failed", "0+0x20 1+0x10"),
    "EmailsyncDiskFilling": ("email_sync_state_dir_free_bytes", "1000x30"),
}


@pytest.mark.parametrize("alert", FIRES)
def test_an_alert_fires_on_what_it_is_for(alert: str, tmp_path: Path) -> None:
    """Each is looked at alone, since a series may rightly set off several."""
    series, values = FIRES[alert]
    (rule,) = [rule for rule in alerts() if rule["alert"] == alert]
    rules = tmp_path / "rule.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    case = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values}],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": "30m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": [case]}))

    tested = promtool("test", "rules", file)

    assert tested.returncode == 0, tested.stdout + tested.stderr


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *words], capture_output=True, text=True, timeout=60, check=False
    )
