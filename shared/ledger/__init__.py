"""The durable record of runs and items, in Redis or Valkey: what is to do, what is done, and why it failed."""

from shared.ledger.audits import Audits
from shared.ledger.dead_letters import DeadLetters, Letter
from shared.ledger.intake import INTAKE, Intake, Taken
from shared.ledger.lease import lease
from shared.ledger.ledger import Ledger, run_key
from shared.ledger.outages import Outage, Outages
from shared.ledger.replies import Next, Requests, reply_key
from shared.ledger.sweeps import Sweeps
from shared.ledger.watermarks import Watermarks, watermark_key

__all__ = [
    "INTAKE",
    "Audits",
    "DeadLetters",
    "Intake",
    "Ledger",
    "Letter",
    "Next",
    "Outage",
    "Outages",
    "Requests",
    "Sweeps",
    "Taken",
    "Watermarks",
    "lease",
    "reply_key",
    "run_key",
    "watermark_key",
]
