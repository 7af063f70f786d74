"""The page of a run, for people: one HTML file that needs nothing else and sends nothing anywhere."""

from shared.page.gathering import Gathered
from shared.page.rendering import page_of

__all__ = ["Gathered", "page_of"]
