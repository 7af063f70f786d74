"""What `auxip orbit` and `auxip aux` have in common: a search from this process, and files saved in a folder."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from shared.context import Context
from shared.selection import Search
from shared.settings import load_settings
from shared.stac.item import Found
from shared.steps.find import select_at_station
from shared.storage.files import save_asset


def look_up(selection: Search, stations: Sequence[str], folder: Path | None) -> tuple[list[Found], list[str]]:
    """Return what a selection comes to and, where there is a folder, the paths of its files in it.

    Args:
        selection: what is looked for.
        stations: to ask, in their order; none means the default one.
        folder: that receives the files; None to save nothing.
    """
    with closing(Context(load_settings())) as context:
        found = select_at_station(context, selection, stations)
        return found, [] if folder is None else [*_saved(context, found, folder)]


def _saved(context: Context, found: Sequence[Found], folder: Path) -> Iterator[str]:
    for one in found:
        if one.item is not None:
            api = context.station(one.station).api
            for name, asset in one.item.assets.items():
                yield str(save_asset(api, name, asset, folder, context.settings))
