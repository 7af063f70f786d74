"""Looks at pages in Chromium, in the environment of the peer `browser`, and prints what it saw as JSON.

    python look.py [--pictures FOLDER] PAGE ...

Each page is opened from its file at the widths of a phone, a tablet and a desk, light and dark, without a network.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as OutOfTime

SIZES: Final = {"phone": (360, 740), "tablet": (768, 1024), "desk": (1280, 900)}
_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_TALLEST: Final = 4000
_FOR_AXE: Final = {"include": [["html"]], "exclude": [["#items tbody tr:nth-child(n + 31)"]]}
"""axe-core takes ten seconds for each few hundred rows: of a long table it looks at the first thirty."""
_STATE: Final = """() => ({
    rows: document.querySelectorAll("#items tbody tr").length,
    first: document.querySelector("#items tbody tr th")?.firstChild.textContent ?? "",
    count: document.getElementById("count").textContent,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    height: document.documentElement.scrollHeight,
})"""

_LINES_OF_POLICY: Final = """() => {
    const range = document.createRange();
    range.selectNodeContents(document.querySelector("table.plain tbody td"));
    return range.getClientRects().length;
}"""


def main() -> None:
    """Look at the pages that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("pages", nargs="+")
    arguments = parser.parse_args()
    pages, pictures = arguments.pages, arguments.pictures
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        seen = {page: {size: _seen(browser, Path(page), size, pictures) for size in SIZES} for page in pages}
        for page in pages:
            seen[page]["without a script"] = _without_script(browser, Path(page))
        browser.close()
    json.dump(seen, sys.stdout)


def _seen(browser: Browser, file: Path, size: str, pictures: Path | None) -> dict[str, Any]:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True, has_touch=size == "phone")
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.extend([request.url] if request.url.startswith("http") else []))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.goto(file.resolve().as_uri())
    try:
        page.wait_for_selector("#tools:not([hidden])", timeout=10_000)
    except OutOfTime:
        raise SystemExit(f"the script of {file} did not begin: {said}") from None
    found: dict[str, Any] = {"said": said, **page.evaluate(_STATE)}
    found["lines of a policy"] = page.evaluate(_LINES_OF_POLICY)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found[scheme] = _violations(page)
        if pictures is not None:
            _photograph(page, pictures / f"{file.stem}-{size}-{scheme}.png", width)
    page.emulate_media(color_scheme="light")
    found["filtered"] = _filtered(page)
    found["found"] = _found(page)
    found["more"] = _more(page)
    found["sorted"] = _sorted(page, size)
    found["with the keyboard"] = _with_keyboard(page)
    if pictures is not None and size == "desk":
        page.pdf(path=str(pictures / f"{file.stem}.pdf"), format="A4")
    context.close()
    return found


def _violations(page: Page) -> list[str]:
    """Return what axe-core finds; its script comes from the package, and the page's policy keeps out any other."""
    response = Axe().run(page, context=_FOR_AXE).response
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in response["violations"]]


def _filtered(page: Page) -> list[dict[str, Any]]:
    """Return the table by the last item's id, by a state, by what no item has, and then without a filter again."""
    name = page.evaluate('() => document.querySelector("#items tbody tr:last-child th").firstChild.textContent')
    found = []
    for text, state in ((name, ""), ("", "failed"), ("no item has this", ""), ("", "")):
        page.fill("#text", text)
        page.select_option("#state", state if page.query_selector(f'#state option[value="{state}"]') else "")
        found.append(page.evaluate(_STATE))
    return found


def _found(page: Page) -> dict[str, Any]:
    """Return what is found of the item whose name is the last of a long run: it is no row before."""
    page.fill("#text", "_1199")
    links = page.locator("#items tbody a").count()
    found = {
        **{name: value for name, value in page.evaluate(_STATE).items() if name in ("rows", "first")},
        "links": links,
    }
    page.fill("#text", "")
    return found


def _more(page: Page) -> int:
    """Return how many rows there are once more are asked for."""
    if page.locator("#more").is_visible():
        page.click("#more")
    rows: int = page.evaluate(_STATE)["rows"]
    page.fill("#text", "x")
    page.fill("#text", "")
    return rows


def _sorted(page: Page, size: str) -> dict[str, str]:
    """Return the first item by name in both orders: by the head of the column or, on a phone, by the list."""
    first = {}
    if size != "desk":
        page.select_option("#order", "0")
        first["up"] = page.evaluate(_STATE)["first"]
        page.select_option("#order", "")
    else:
        button = page.locator("#items thead button").first
        button.click()
        first["up"] = page.evaluate(_STATE)["first"]
        button.click()
        first["down"] = page.evaluate(_STATE)["first"]
        first["said"] = page.locator("#items thead th").first.get_attribute("aria-sort") or ""
    return first


def _with_keyboard(page: Page) -> list[str]:
    """Return what the key Tab comes to, from the search on."""
    page.focus("#text")
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.id || document.activeElement.textContent"))
    return reached


def _without_script(browser: Browser, file: Path) -> dict[str, Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(file.resolve().as_uri())
    seen = {
        "rows": page.locator("#items tbody tr").count(),
        "tools": page.locator("#tools").is_visible(),
        "count": page.locator("#count").inner_text(),
    }
    context.close()
    return seen


def _photograph(page: Page, file: Path, width: int) -> None:
    height = min(page.evaluate("() => document.documentElement.scrollHeight"), _TALLEST)
    page.screenshot(path=str(file), full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


if __name__ == "__main__":
    main()
