"""The choice among what a station answers: streamed, one item remembered at most, whatever the order of the pages."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from shared.answer import Selected
from shared.errors import ItemFailed
from shared.selection.policies import POLICIES, Rule, Standing, Window
from shared.selection.request import PolicySelection
from shared.stac.item import Found, Item
from shared.stac.search import Cql2

Ask = Callable[[Cql2], Iterable[Found]]
Note = Callable[[Selected], None]


def choose(selection: PolicySelection, ask: Ask, note: Note = lambda _: None) -> Iterator[Found]:
    """Yield what a chain of policies selects, and what the station offers that none of them can judge.

    Args:
        selection: the chain, its product types and its window.
        ask: sends a search to the station; its answer is read once, and not remembered.
        note: is given what was selected of each product type, when that is known.
    """
    for product_type in dict.fromkeys(selection.product_types):
        yield from _first_that_selects(selection, product_type, ask, note)


def _first_that_selects(selection: PolicySelection, product_type: str, ask: Ask, note: Note) -> Iterator[Found]:
    offered = 0
    for number, name in enumerate(selection.policies, start=1):
        asked = [POLICIES[each] for each in selection.policies[:number]]
        answer, selected = _Counted(ask(selection.search(name, product_type))), 0
        for one in _selected(asked, selection.window(), answer):
            selected += one.item is not None
            yield one
        offered = max(offered, answer.count)
        if selected:
            note(Selected(product_type=product_type, policy=name, offered=offered, selected=selected))
            return
    note(Selected(product_type=product_type, offered=offered))


class _Counted:
    """An answer of the station, and how many items of it were read."""

    def __init__(self, found: Iterable[Found]) -> None:
        self._found = found
        self.count = 0

    def __iter__(self) -> Iterator[Found]:
        for one in self._found:
            self.count += 1
            yield one


def _selected(asked: Sequence[Rule], window: Window, found: Iterable[Found]) -> Iterator[Found]:
    """Yield what the last policy that is asked selects: all that it takes as it comes, or the best one last."""
    best: tuple[Standing, Found] | None = None
    for one in found:
        judged, standing = _judged(asked, window, one)
        if judged.item is None or (standing is not None and asked[-1].measure is None):
            yield judged
        elif standing is not None and (best is None or standing > best[0]):
            best = standing, judged
    if best is not None:
        yield best[1]


def _judged(asked: Sequence[Rule], window: Window, found: Found) -> tuple[Found, Standing | None]:
    """The item and how it stands before the last policy, or a failed one where one of the policies cannot tell."""
    if found.item is None:
        return found, None
    try:
        return found, _standings(asked, window, found.item)[-1]
    except ItemFailed as error:
        return Found.unusable(found.item_id, error.code, error.reason), None


def _standings(asked: Sequence[Rule], window: Window, item: Item) -> list[Standing | None]:
    # The earlier policies judge it again: what they could not judge is told as failed already, under the same id.
    return [rule.standing(item, window) for rule in asked]
