"""What a run selects: by policies, a CQL2 search, publication, the orbit of a scene, files by name, or a given item."""

from shared.selection.choice import Note, choose
from shared.selection.generation import generation_time
from shared.selection.inputs import FileNames, NamesSelection, inputs_of
from shared.selection.named import NamedQuery, fill
from shared.selection.orbits import OrbitSelection, Scene, orbit_kind
from shared.selection.policies import POLICIES, PolicyName, validity
from shared.selection.published import Published
from shared.selection.request import Given, Instant, Margin, Platform, PolicySelection, ProductType
from shared.selection.selection import Search, Selection

__all__ = [
    "POLICIES",
    "FileNames",
    "Given",
    "Instant",
    "Margin",
    "NamedQuery",
    "NamesSelection",
    "Note",
    "OrbitSelection",
    "Platform",
    "PolicyName",
    "PolicySelection",
    "ProductType",
    "Published",
    "Scene",
    "Search",
    "Selection",
    "choose",
    "fill",
    "generation_time",
    "inputs_of",
    "orbit_kind",
    "validity",
]
