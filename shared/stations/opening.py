"""Open a station of any kind."""

from shared.settings import Settings
from shared.stations.config import ODataConfig, S3ListConfig, SarMpcConfig, StacConfig, StationConfig
from shared.stations.credentials import TokenOf
from shared.stations.limits import Limits
from shared.stations.odata.station import ODataStation
from shared.stations.s3_list import S3ListStation
from shared.stations.sar_mpc import SarMpcStation
from shared.stations.stac import StacStation
from shared.stations.station import Station


def open_station(
    name: str, config: StationConfig, settings: Settings, limits: Limits | None = None, token_of: TokenOf | None = None
) -> Station:
    """Return the station that a configuration describes; nothing is asked for yet."""
    match config:
        case StacConfig():
            return StacStation(name, config, settings, limits, token_of)
        case ODataConfig():
            return ODataStation(name, config, settings, limits, token_of)
        case S3ListConfig():
            return S3ListStation(name, config, settings, limits)
        case SarMpcConfig():
            return SarMpcStation(name, config, settings, limits)
        case _:
            raise TypeError(f"a station of the kind {type(config).__name__}")
