"""The durable record of runs and items, in Redis or Valkey: what is to do, what is done, and why it failed."""

from shared.ledger.dead_letters import DeadLetters, Letter
from shared.ledger.lease import lease
from shared.ledger.ledger import Ledger
from shared.ledger.sweeps import Sweeps

__all__ = ["DeadLetters", "Ledger", "Letter", "Sweeps", "lease"]
