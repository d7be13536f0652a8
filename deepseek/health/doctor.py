"""From a configuration to a report: choose the checks, run them, judge what they saw."""

import platform
import time
from collections.abc import Sequence
from dataclasses import replace

from deepseek.errors import InputError
from deepseek.health.check import Check
from deepseek.health.checks import CHECKS, GROUPS, KINDS
from deepseek.health.checks.cores import usable_cores
from deepseek.health.checks.memory import memory
from deepseek.health.checks.processor import model
from deepseek.health.config import DoctorConfig
from deepseek.health.judge import judge
from deepseek.health.machine import Machine
from deepseek.health.profiles import wanted
from deepseek.health.programs import Programs
from deepseek.health.report import Host, Report
from deepseek.health.requirements import did_you_mean
from deepseek.health.runner import run_checks
from deepseek.progress import Progress, silent
from deepseek.versions import __version__

__all__ = ["examine", "select"]

_WIDEST = 4  # more programs at once than this gain nothing: the largest is one import of torch


def examine(
    config: DoctorConfig, machine: Machine | None = None, progress: Progress = silent
) -> Report:
    """Run the checks and judge them.

    Args:
        config: Which checks, held to what.
        machine: What to look at; this machine by default.
        progress: Told after each check.

    Raises:
        InputError: An unknown profile, check or requirement.
    """
    begin = time.monotonic()
    asked = wanted(config.profile, config.require, KINDS)
    chosen = select(config.only, CHECKS)
    programs = Programs()
    seen_machine = machine or Machine(run=programs.run)
    try:
        cores = usable_cores(seen_machine).usable
        looks = run_checks(
            chosen,
            seen_machine,
            is_required=lambda name: asked.of(name).level == "require",
            width=min(_WIDEST, max(2, cores)),
            progress=progress,
        )
    finally:
        programs.close()
    numbers = {check.id: number for number, check in enumerate(CHECKS, start=1)}
    verdicts = tuple(
        judge(numbers[check.id], check, looks[check.id].seen, asked, looks[check.id].seconds)
        for check in chosen
    )
    return Report(
        host=_host(seen_machine),
        wanted=asked,
        fail_on=config.fail_on,
        verdicts=verdicts,
        seconds=time.monotonic() - begin,
    )


def select(only: Sequence[str], checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that are named, or whose group is; all of them when nothing is named.

    Raises:
        InputError: A name that is neither a check nor a group.
    """
    names = [*(check.id for check in checks), *GROUPS]
    for name in only:
        if name not in names:
            raise InputError(
                f"--only: expected the name of a check or group, got {name!r}",
                hint=did_you_mean(name, names) or "deepseek doctor --list shows them",
            )
    chosen = tuple(check for check in checks if not only or check.id in only or check.group in only)
    ids = {check.id for check in chosen}
    # A check that is left out cannot be waited for; what it would have found is found on the way.
    return tuple(
        replace(check, after=tuple(name for name in check.after if name in ids)) for check in chosen
    )


def _host(machine: Machine) -> Host:
    sizes = memory(machine)
    return Host(
        system=f"{platform.system()} {platform.release()}",
        architecture=machine.architecture,
        processor=model(machine),
        cores=usable_cores(machine).usable,
        memory=sizes[0] if sizes else None,
        python=platform.python_version(),
        toolkit=__version__,
    )
