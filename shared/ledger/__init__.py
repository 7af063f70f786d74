"""The durable record of runs and items, in Redis or Valkey: what is to do, what is done, and why it failed."""

from shared.ledger.dead_letters import DeadLetters, Letter
from shared.ledger.lease import Lease, lease
from shared.ledger.ledger import Ledger

__all__ = ["DeadLetters", "Lease", "Ledger", "Letter", "lease"]
