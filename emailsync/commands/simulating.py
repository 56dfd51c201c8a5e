"""`emailsyncd simulate`: how soon the settings let everybody be synced, and what holds them up."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from emailsync.commands.assumed import MIX
from emailsync.commands.capacity import TARGETS, Target
from emailsync.commands.output import Answer, CommandFailed, ExitCode
from emailsync.config import Settings
from emailsync.simulation.meter import LimitUse, Measured
from emailsync.simulation.population import Mix
from emailsync.simulation.run import SPREAD, Plan, Report, simulate

LAG_COLUMNS: Final = ("priority", "syncs", "median", "p95", "max")
USE_COLUMNS: Final = ("limit", "allowed", "peak", "average", "full", "of")


def mix_of(text: str) -> Mix:
    """Return the mix that `critical,high,normal,low` names.

    Raises:
        CommandFailed: it names none.
    """
    try:
        critical, high, normal, low = (float(share) for share in text.split(","))
    except ValueError:
        raise CommandFailed(f"--mix takes four numbers, as in {MIX}", ExitCode.USAGE) from None
    shares = critical, high, normal, low
    if not all(0 <= share <= 100 for share in shares) or not any(shares):  # noqa: PLR2004 - percent
        raise CommandFailed("--mix: each is 0 to 100, and one at least above 0", ExitCode.USAGE)
    return Mix(critical=critical, high=high, normal=normal, low=low)


def show(settings: Settings, plan: Plan, answer: Answer) -> None:
    """Simulate, and say what came out."""
    section = settings.email_sync.model_copy(update={"enabled": True})
    report = simulate(settings.model_copy(update={"email_sync": section}), plan)
    if answer.as_json:
        answer.facts(_facts(plan, report))
        return
    answer.say(_assumptions(plan))
    answer.say(_verdict(plan, report))
    _show(report.cycle, answer)
    if report.after is not None:
        overdue = f"{report.overdue} overdue at the end, by up to {_time(report.longest_overdue_s)}"
        wanted = f"the intervals ask for {report.wanted_per_s:.2f} syncs/s"
        answer.say("")
        answer.say(f"The {plan.after} after that: {wanted}; {overdue}")
        _show(report.after, answer)


def target_of(plan: Plan) -> Target | None:
    """Return the promise that so large a crowd falls under."""
    fitting = (target for target in TARGETS if plan.crowd.tenants <= target.tenants)
    return next(fitting, None)


def _assumptions(plan: Plan) -> str:
    crowd, mix = plan.crowd, plan.crowd.mix
    types = ", ".join(crowd.provider_types)
    return (
        f"{crowd.tenants} tenants x {crowd.accounts_per_tenant} accounts ({types}), all due at once"
        f"; critical/high/normal/low {mix.critical:g}/{mix.high:g}/{mix.normal:g}/{mix.low:g};"
        f" a sync takes {plan.sync_s:g} s (median; log-normal, sigma {SPREAD:g}); seed {plan.seed}"
    )


def _verdict(plan: Plan, report: Report) -> str:
    took, waiting = _time(report.cycle.duration_s), sum(report.never_synced.values())
    if waiting:
        by_priority = ", ".join(
            f"{count} {priority.name.lower()}" for priority, count in report.never_synced.items()
        )
        line = f"NOT all synced after {took}: {waiting} of {report.accounts} wait ({by_priority})"
    else:
        line = f"all {report.accounts} accounts synced once after {took}"
    target = target_of(plan)
    if target is not None:
        met = "met" if _is_met(report, target) else "MISSED"
        line += f"; target for {target.tenants:,} tenants, {target.minutes} min: {met}"
    return line


def _is_met(report: Report, target: Target) -> bool:
    return not report.never_synced and report.cycle.duration_s <= target.minutes * 60


def _show(measured: Measured, answer: Answer) -> None:
    answer.say(f"{measured.syncs} syncs, {measured.syncs_per_s:.2f}/s; {_bottleneck(measured)}")
    answer.say("")
    answer.say("How long syncs had been due when they began")
    answer.table(
        LAG_COLUMNS,
        [
            {
                "priority": lag.priority.name.lower(),
                "syncs": lag.syncs,
                "median": _time(lag.median_s),
                "p95": _time(lag.p95_s),
                "max": _time(lag.max_s),
            }
            for lag in measured.lags
        ],
    )
    answer.say("")
    answer.say("How much of the limits was used; of tenants and hosts, the busiest")
    answer.table(USE_COLUMNS, [_use_row(use) for use in measured.uses])


def _use_row(use: LimitUse) -> Mapping[str, Any]:
    return {
        "limit": use.limit,
        "allowed": f"{use.allowed:g}",
        "peak": f"{use.peak:.3g}",
        "average": f"{use.average:.2f}",
        "full": f"{use.full_share:.0%}",
        "of": use.of or None,
    }


def _bottleneck(measured: Measured) -> str:
    use = measured.bottleneck
    if use is None:
        return "no limit was ever full"
    return f"bottleneck: {use.limit} = {use.allowed:g}, full {use.full_share:.0%} of the time"


def _facts(plan: Plan, report: Report) -> Mapping[str, Any]:
    target = target_of(plan)
    return {
        "tenants": plan.crowd.tenants,
        "accounts": report.accounts,
        "mix": asdict(plan.crowd.mix),
        "provider_types": plan.crowd.provider_types,
        "imap_hosts": plan.crowd.imap_hosts,
        "sync_median_s": plan.sync_s,
        "sync_sigma": SPREAD,
        "seed": plan.seed,
        "target_s": None if target is None else target.minutes * 60,
        "target_met": None if target is None else _is_met(report, target),
        "never_synced": {
            priority.name.lower(): count for priority, count in report.never_synced.items()
        },
        "wanted_per_s": report.wanted_per_s,
        "cycle": _measured_facts(report.cycle),
        "after": None if report.after is None else _measured_facts(report.after),
        "overdue": report.overdue,
        "longest_overdue_s": report.longest_overdue_s,
    }


def _measured_facts(measured: Measured) -> Mapping[str, Any]:
    lags: Sequence[Mapping[str, Any]] = [
        {**asdict(lag), "priority": lag.priority.name.lower()} for lag in measured.lags
    ]
    return {
        "duration_s": measured.duration_s,
        "syncs": measured.syncs,
        "syncs_per_s": measured.syncs_per_s,
        "lags": lags,
        "uses": [asdict(use) for use in measured.uses],
        "bottleneck": None if measured.bottleneck is None else measured.bottleneck.limit,
    }


def _time(seconds: float) -> str:
    """Return it as people say it: 2.5 s, or h:mm:ss."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))
