"""The application as it is, with the free station and store, and the catalog of its settings: `...catalog_app:app`."""

from unittest.mock import patch

import workers.app
from shared.context import Context
from shared.stac.catalog import Catalog
from tests.benchmarks.free_services import FreeContext
from workers.app import app as app


class RealCatalogContext(FreeContext):
    """The context of a worker whose catalog is a real one."""

    def catalog_of(self, owner: str) -> Catalog:
        """Return the catalog that receives the items."""
        return Context.catalog_of(self, owner)


patch.object(workers.app, "Context", RealCatalogContext).start()
