"""Plays rounds: `python -m tests.faults --rounds N --seed S [--kinds KIND,..] [--defaults] [--keep] [--json]`."""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp

from tests.faults.all_kinds import KINDS, usual_kinds
from tests.faults.mutants import MUTANTS, judge_mutants
from tests.faults.pace import FACTORS, QUICK, Pace, defaults
from tests.faults.rounds import Outcome, play
from tests.faults.schedule import plan_of
from tests.faults.system import System

_SHOWN = 20


def main() -> int:
    """Play rounds of the seeds from S on, and tell what came of them, also where it is interrupted; 1 if any failed."""
    arguments = _arguments()
    if arguments.mutants:
        return _judge_mutants(arguments)
    began = time.monotonic()
    outcomes: list[Outcome] = []
    pace = defaults(arguments.factor) if arguments.defaults else QUICK
    try:
        _play_all(arguments, pace, outcomes)
    finally:
        totals = _totals(outcomes, pace, time.monotonic() - began)
        lines = "\n".join(f"{name:>15}  {value}" for name, value in totals.items())
        print(json.dumps(totals) if arguments.json else lines)  # noqa: T201
    return int(any(outcome.findings for outcome in outcomes))


def _play_all(arguments: argparse.Namespace, pace: Pace, outcomes: list[Outcome]) -> None:
    """Play every round; a system that has failed one is replaced."""
    seeds = list(range(arguments.seed, arguments.seed + arguments.rounds))
    kinds = arguments.kinds or usual_kinds(by_defaults=arguments.defaults)
    while seeds:
        with System(pace) as system:
            while seeds:
                outcome = play(system, plan_of(seeds.pop(0), kinds, pace))
                outcomes.append(outcome)
                _tell(outcome)
                if outcome.findings:
                    if arguments.keep:
                        _keep(system, outcome)
                    if arguments.until_one_fails:
                        return
                    break


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next has the next")
    parser.add_argument("--kinds", type=_kinds, help="kinds of faults, separated by commas; else the usual ones")
    parser.add_argument("--defaults", action="store_true", help="the product's settings; outages of 20 s to 10 minutes")
    parser.add_argument("--factor", type=int, choices=FACTORS, default=10, help="by which --defaults divides all times")
    parser.add_argument("--until-one-fails", action="store_true", help="play no more rounds then")
    parser.add_argument(
        "--mutants", action="store_true", help="break the product in each known way, and look who sees it"
    )
    parser.add_argument("--mutant", default="", choices=[mutant.name for mutant in MUTANTS], help="only this one")
    parser.add_argument("--keep", action="store_true", help="keep the logs of rounds that fail")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    return parser.parse_args()


def _judge_mutants(arguments: argparse.Namespace) -> int:
    """Tell of each mutant whether the harness sees it; returns 1 if it misses one."""
    verdicts = []
    for verdict in judge_mutants(arguments.mutant, arguments.seed):
        verdicts.append(asdict(verdict))
        _say(f"mutant {verdict.mutant}: {'seen' if verdict.seen else 'NOT SEEN'} ({verdict})")
    print(json.dumps(verdicts))  # noqa: T201
    return int(not all(verdict["seen"] for verdict in verdicts))


def _kinds(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - KINDS.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(sorted(KINDS))}")
    return names


def _tell(outcome: Outcome) -> None:
    faults = ", ".join(f"{fault.kind} at {fault.at:.0%}" for fault in outcome.plan.faults)
    verdict = "failed" if outcome.findings else "good"
    _say(
        f"seed {outcome.plan.seed}: {verdict} in {outcome.seconds:.1f} s ({faults}; {outcome.repeated} steps repeated)"
    )
    for finding in outcome.findings[:_SHOWN]:
        _say(f"    {finding.kind} ({finding.check}): {finding.what}")
    if len(outcome.findings) > _SHOWN:
        _say(f"    and {len(outcome.findings) - _SHOWN} more")


def _keep(system: System, outcome: Outcome) -> None:
    folder = Path(mkdtemp(prefix=f"faults-{outcome.plan.seed}-"))
    for log in [*system.stack.folder.glob("*.log"), *system.stack.folder.rglob("weed*.INFO")]:
        shutil.copy(log, folder)
    _say(f"    logs: {folder}")


def _totals(outcomes: list[Outcome], pace: Pace, seconds: float) -> dict[str, object]:
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    kinds = Counter(finding.kind for outcome in outcomes for finding in outcome.findings)
    told = f"the product's defaults, all times divided by {pace.factor}" if pace.factor else "quick"
    return {
        "settings": told,
        "rounds": len(outcomes),
        "faults": dict(sorted(faults.items())),
        "lost": kinds["lost"],
        "wrong": kinds["wrong"],
        "hung": kinds["hung"],
        "checks": sorted({finding.check for outcome in outcomes for finding in outcome.findings}),
        "repeated_steps": sum(outcome.repeated for outcome in outcomes),
        "seconds": round(seconds, 1),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
