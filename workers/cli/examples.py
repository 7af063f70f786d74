"""The examples that the help of a command ends with, and the groups that the help of `auxip` has."""

from typing import Final

GROUPS: Final = {
    "Try it": ("demo", "up"),
    "Stage": ("stage", "get", "orbit", "aux", "expand", "collection"),
    "Look": ("runs", "show", "queues", "doctor", "config", "contract"),
    "Repair": ("retry", "dead", "cancel", "reconcile", "audit"),
    "Again and again": ("sweeps", "sweep", "replay"),
    "Serve": ("gate", "exporter"),
}

_WINDOW: Final = "--start 2024-03-25T09:00:00Z --end 2024-03-25T09:25:00Z"

EXAMPLES: Final = {
    "": (
        "auxip up",
        f"auxip stage --product-type OPER_AUX_ECMWFD_PDMC {_WINDOW}",
        "auxip runs",
        "auxip doctor",
    ),
    "up": ("auxip up", "auxip up --sweeps sweeps.toml"),
    "stage": (
        f"auxip stage --product-type OPER_AUX_ECMWFD_PDMC {_WINDOW}",
        f"auxip stage --policy LatestValCover --product-type OPER_AUX_RESORB_OPOD --before 6000s {_WINDOW}",
        f"auxip stage --dry-run --product-type OPER_AUX_ECMWFD_PDMC {_WINDOW}",
        "auxip stage --filter filter.json --error-if-empty --json",
    ),
    "get": ("auxip get S1A_OPER_AUX_RESORB_OPOD_20240325T093000 --to .",),
    "expand": (
        "auxip expand --local x.zip --dry-run",
        "auxip expand s3://aux/auxip/x.zip --layout tree",
    ),
    "collection": ('auxip collection create forecasts --description "Weather forecasts"',),
    "runs": ("auxip runs --state failed --state partial --since 2d", "auxip runs --label orbits --json"),
    "show": (
        "auxip show 3b62824c",
        "auxip show 3b62824c --json",
        "auxip show 3b62824c --failed",
        "auxip show 3b62824c --open",
    ),
    "retry": ("auxip retry 3b62824c",),
    "queues": ("auxip queues", "auxip queues --json"),
    "doctor": ("auxip doctor", "auxip doctor --collection aux --json"),
    "dead": (
        "auxip dead",
        "auxip dead show 1711357200123-0",
        "auxip dead replay --code checksum-mismatch",
        "auxip dead drop 1711357200123-0",
    ),
    "cancel": ("auxip cancel 3b62824c",),
    "audit": ("auxip audit aux", "auxip audit aux --checksum --owner auxip", "auxip audit aux --repair"),
    "sweep": ("auxip sweep orbits",),
}


def epilog(command: str) -> str:
    """Return the examples of a command as the end of its help; of `auxip` itself, where the name is empty."""
    lines = EXAMPLES.get(command, ())
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)]) if lines else ""
