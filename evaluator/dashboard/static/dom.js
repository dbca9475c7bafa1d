// Small help with the document: elements, tables that change in place, the theme's colours.

export const get = (id) => document.getElementById(id);

/** An element with properties (`class`, `aria-…` and the like as attributes) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set text only where it changes: what a person selects or a screen reader reads is left alone. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/**
 * Make a table's body show these rows. A cell is a text, or {text, sub, cls, bar, head, bad}: `sub` stands smaller beneath,
 * `bar` is a share drawn as a bar, `head` makes it the row's heading, `bad` makes what stands beneath red.
 */
export function rows(table, wanted, empty = "") {
  const body = table.tBodies[0];
  const columns = table.tHead.rows[0].cells;
  const shown = wanted.length ? wanted : [[{ text: empty, cls: "empty", columns: columns.length }]];
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((cells, number) => {
    const row = body.rows[number] ?? body.insertRow();
    const kinds = cells.map((cell) => `${cell.head ? "TH" : "TD"}${cell.columns ?? 1}`).join();
    if (row.dataset.kinds !== kinds) {
      row.dataset.kinds = kinds;
      row.replaceChildren(...cells.map((cell, place) => {
        const element = h(cell.head ? "th" : "td", { scope: cell.head ? "row" : null, colspan: cell.columns });
        if (columns[place].classList.contains("n") && !cell.columns) element.className = "n";
        return element;
      }));
    }
    cells.forEach((cell, place) => fill(row.cells[place], typeof cell === "string" ? { text: cell } : cell));
  });
}

function fill(cell, { text: value, sub = "", cls = "", bar, bad = false }) {
  const key = `${value}\u0000${sub}\u0000${cls}\u0000${bar}\u0000${bad}`;
  if (cell.dataset.key === key) return;
  cell.dataset.key = key;
  const parts = [];
  if (bar !== undefined) {
    const inner = h("span", { class: "bar-fill" });
    inner.style.width = `${Math.round(bar * 1000) / 10}%`;
    parts.push(h("span", { class: "bar-track", "aria-hidden": "true" }, inner));
  }
  if (cls) parts.push(h("span", { class: cls }, value));
  else if (value) parts.push(value);
  if (sub) parts.push(h("span", { class: bad ? "sub bad" : "sub" }, sub));
  cell.replaceChildren(...parts);
}

/** Options of a select, the choice kept where it is still there. */
export function options(select, wanted) {
  const key = JSON.stringify(wanted);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const before = select.value;
  select.replaceChildren(...wanted.map(([value, label]) => h("option", { value }, label)));
  if (wanted.some(([value]) => value === before)) select.value = before;
}

const probe = h("span", { hidden: "" });

/** What a custom property is in the present theme, as a canvas understands it. */
export function colour(name, opacity = 1) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}
