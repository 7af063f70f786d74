"""What a run selects: by policies, by a plain CQL2 search, or one item that is given."""

from shared.selection.choice import choose
from shared.selection.generation import generation_time
from shared.selection.named import NamedQuery, fill
from shared.selection.policies import POLICIES, PolicyName, validity
from shared.selection.request import Given, Instant, Margin, Platform, PolicySelection, ProductType, Search, Selection

__all__ = [
    "POLICIES",
    "Given",
    "Instant",
    "Margin",
    "NamedQuery",
    "Platform",
    "PolicyName",
    "PolicySelection",
    "ProductType",
    "Search",
    "Selection",
    "choose",
    "fill",
    "generation_time",
    "validity",
]
