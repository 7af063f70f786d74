"use strict";
(() => {
  const AT_ONCE = 300, UNITS = ["B", "kB", "MB", "GB", "TB"];
  const find = (id) => document.getElementById(id);
  const table = find("items"), body = table.tBodies[0], text = find("text"), state = find("state");
  const order = find("order"), more = find("more"), count = find("count");
  const leftOut = Number(table.dataset.leftOut);
  const number = (value) => value.toLocaleString("en");
  let rows = [], shown = AT_ONCE, column = null, down = false;

  function size(bytes) {
    let unit = 0;
    while (bytes >= 1000 && unit < UNITS.length - 1) { bytes /= 1000; unit += 1; }
    return (unit === 0 || bytes >= 100 ? bytes.toFixed(0) : bytes.toFixed(1)) + " " + UNITS[unit];
  }
  function duration(seconds) {
    for (const [large, unit, small, name] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
      if (seconds >= large) {
        const rest = Math.floor(seconds % large / small);
        return Math.floor(seconds / large) + " " + unit + (rest ? " " + rest + " " + name : "");
      }
    }
    return (seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)) + " s";
  }
  function element(name, content, type) {
    const made = document.createElement(name);
    if (type) made.className = type;
    made.append(...[content].flat());
    return made;
  }
  function link(content, url) {
    if (!url) return content;
    const made = element("a", content);
    made.href = url;
    return made;
  }
  function element_of([id, state, code, reason, bytes, seconds, attempts, inCatalog, files, fileCount]) {
    const url = inCatalog ? table.dataset.collection + "/items/" + encodeURIComponent(id) : "";
    const head = element("th", link(id, url), "id");
    head.scope = "row";
    if (files.length) {
      const list = element("ul", files.map(([href, web]) => element("li", link(href, web))));
      if (fileCount > files.length) list.append(element("li", "and " + (fileCount - files.length) + " more"));
      head.append(element("details", [element("summary", fileCount + (fileCount === 1 ? " file" : " files")), list]));
    }
    const why = element("td", code ? [element("code", code), " ", reason] : reason, "why");
    if (attempts) why.append(" ", element("span", attempts + (attempts === 1 ? " try" : " tries") + " failed", "quiet"));
    return element("tr", [
      head, element("td", state, "state is-" + state), element("td", size(bytes), "number"),
      element("td", seconds === null ? "" : duration(seconds), "number"), why,
    ]);
  }
  function read(row) {
    const time = row.dataset.time, words = row.textContent;
    return {
      keys: [row.cells[0].firstChild.textContent, row.dataset.state, Number(row.dataset.size), time === "" ? -1 : Number(time)],
      words: words.toLowerCase(), element: () => row,
    };
  }
  function unpacked(line) {
    const each = JSON.parse(line);
    let made = null;
    return {
      keys: [each[0], each[1], each[4], each[5] === null ? -1 : each[5]],
      words: each.slice(0, 4).join(" ").toLowerCase(), element: () => made || (made = element_of(each)),
    };
  }
  function compare(one, other) {
    const [a, b] = [one.keys[column], other.keys[column]];
    return (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
  }
  function show() {
    const wanted = text.value.trim().toLowerCase();
    const found = rows.filter((row) => (!state.value || row.keys[1] === state.value) && row.words.includes(wanted));
    if (column !== null) found.sort(compare);
    body.replaceChildren(...found.slice(0, shown).map((row) => row.element()));
    more.hidden = found.length <= shown;
    const rest = leftOut ? "; " + number(leftOut) + " more are only in the report" : "";
    const part = found.length > shown ? ", the first " + number(shown) + " of them shown" : "";
    count.textContent = number(found.length) + " of " + number(rows.length) + " items" + part + rest + ".";
  }
  function sort(index, descending) {
    column = index;
    down = descending;
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      cell.removeAttribute("aria-sort");
      if (place === column) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
    shown = AT_ONCE;
    show();
  }
  async function unpack() {
    const packed = find("packed");
    if (!packed || typeof DecompressionStream === "undefined") return;
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const lines = (await new Response(stream).text()).trimEnd().split("\n");
    rows = rows.concat(lines.map(unpacked));
  }
  function begin() {
    [...table.tHead.rows[0].cells].slice(0, 4).forEach((cell, index) => {
      const button = element("button", cell.textContent);
      button.type = "button";
      button.addEventListener("click", () => sort(index, column === index ? !down : index > 1));
      cell.replaceChildren(button);
    });
    for (const each of [text, state]) each.addEventListener("input", () => { shown = AT_ONCE; show(); });
    order.addEventListener("input", () => sort(order.value === "" ? null : Number(order.value), Number(order.value) > 1));
    find("tools").addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => { shown += AT_ONCE; show(); });
    addEventListener("beforeprint", () => document.querySelectorAll("section > details").forEach((each) => { each.open = true; }));
    find("tools").hidden = false;
    show();
  }
  rows = [...body.rows].map(read);
  unpack().then(begin, begin);
})();
