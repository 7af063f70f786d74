"""Everything that a run may select."""

from typing import Annotated

from pydantic import Field

from shared.selection.inputs import NamesSelection
from shared.selection.orbits import OrbitSelection
from shared.selection.published import Published
from shared.selection.request import Given, PolicySelection
from shared.stac.search import Cql2

Search = Annotated[Cql2 | PolicySelection | Published | OrbitSelection | NamesSelection, Field(discriminator="kind")]
Selection = Annotated[
    Cql2 | PolicySelection | Published | OrbitSelection | NamesSelection | Given, Field(discriminator="kind")
]
