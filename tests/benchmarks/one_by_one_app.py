"""As `catalog_app`, with each item read, written and read back by itself: `tests.benchmarks.one_by_one_app:app`."""

from unittest.mock import patch

from shared.stac.catalog import Catalog
from tests.benchmarks.catalog_app import app as app

patch.object(Catalog, "takes_many", new=False).start()
