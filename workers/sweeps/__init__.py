"""Periodic sweeps: the file that lists them, the moments at which each is due, and what beat sends."""

from workers.sweeps.file import find_sweep, load_sweeps
from workers.sweeps.sweep import Sweep

__all__ = ["Sweep", "find_sweep", "load_sweeps"]
