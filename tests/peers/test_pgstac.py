"""The main job with pgSTAC as station and as catalog."""

from local import samples
from tests.integration.conftest import of_id
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac


def test_a_product_is_staged_from_pgstac_into_pgstac(on_pgstac: Deployment, pgstac: PgStac, collection: str) -> None:
    product = samples.product(samples.OPEN_ENDED)
    run = on_pgstac.run(collection, cql2_filter=of_id(product.item_id))
    assert (run.counts.staged, on_pgstac.failures(run)) == (1, [])
    assert list(pgstac.item(collection, product.item_id)["assets"]) == [product.name]
