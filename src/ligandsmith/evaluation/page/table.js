// The table of molecules of the report and of the studio: heads that sort, rows that are made as they scroll into view.
"use strict";

import { element } from "./dom.js";

const WINDOW = 60;  // rows that exist at a time
const MARGIN = 15;  // rows that exist above and below those in view, at least

export class MoleculeTable {
  // frame: the element that scrolls; head, body: of the table; rowHeight: px, the same for all rows.
  // columns(): [{id, label, title?, sorts?, cell(row): td or th}]; onSort(id); onMove(row): by arrow keys in the table.
  constructor({ frame, head, body, rowHeight, columns, onSort }) {
    Object.assign(this, { frame, head, body, rowHeight, columns, onSort });
    this.source = { length: 0, row: () => null };
    this.sort = { id: "", up: true };
    this.current = null;
    this.first = 0;
    this.lines = new Map();  // of the rows that exist
    this.look = "";
    this.above = element("tbody", { "aria-hidden": "true" });
    this.below = element("tbody", { "aria-hidden": "true" });
    body.before(this.above);
    body.after(this.below);
    frame.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    body.addEventListener("keydown", (event) => this.#moveFocus(event));
  }

  // source: {length, row(k): {key, ...} or null while it is fetched, wanted?(first, last)}. A row that changes is another
  // object; as long as it is the same one, its line stays.
  show(source, { sort = this.sort, top = false } = {}) {
    this.source = source;
    this.sort = sort;
    if (top) this.frame.scrollTop = 0;
    this.#drawHead();
    this.draw();
  }

  // Makes the rows around those in view again.
  draw() {
    const { length } = this.source;
    this.first = Math.max(0, Math.min(this.#inView()[0] - (WINDOW - this.#seen()) / 2, length - WINDOW)) | 0;
    const last = Math.min(length, this.first + WINDOW);
    if (this.source.wanted) this.source.wanted(this.first, last);
    const columns = this.columns();
    const look = columns.map((column) => column.id).join();
    const before = look === this.look ? this.lines : new Map();
    [this.look, this.lines] = [look, new Map()];
    const lines = [];
    for (let k = this.first; k < last; k += 1) lines.push(this.#line(k, columns, before));
    this.#put(lines);
    this.#space(this.above, this.first);
    this.#space(this.below, length - last);
    this.body.parentElement.setAttribute("aria-rowcount", String(length + 1));
  }

  setCurrent(key, scroll = false) {
    this.current = key;
    for (const line of this.body.children) line.classList.toggle("current", line.dataset.key === String(key));
    if (scroll) this.#scrollTo(key);
  }

  // The key of the row so many places after the current one, or null.
  next(by) {
    const place = this.#placeOf(this.current);
    const row = this.source.row(Math.min(Math.max(place + by, 0), this.source.length - 1));
    return row ? row.key : null;
  }

  #placeOf(key) {
    for (let k = 0; k < this.source.length; k += 1) {
      const row = this.source.row(k);
      if (row && row.key === key) return k;
    }
    return -1;
  }

  #scrollTo(key) {
    const place = this.#placeOf(key);
    const [top, height] = [place * this.rowHeight, this.frame.clientHeight - this.head.offsetHeight];
    if (place < 0) return;
    if (top < this.frame.scrollTop) this.frame.scrollTop = top;
    else if (top + this.rowHeight > this.frame.scrollTop + height) this.frame.scrollTop = top + this.rowHeight - height;
  }

  #seen() {
    return Math.ceil(this.frame.clientHeight / this.rowHeight);
  }

  #inView() {
    const first = Math.floor(this.frame.scrollTop / this.rowHeight);
    return [first, first + this.#seen()];
  }

  #scrolled() {
    const [from, to] = this.#inView();
    const last = this.first + this.body.children.length;
    const short = from - MARGIN < this.first && this.first > 0;
    if (short || (to + MARGIN > last && last < this.source.length)) this.draw();
  }

  #space(part, rows) {
    const filler = element("tr", {}, element("td", { colSpan: 99 }));
    filler.firstChild.style.cssText = `height:${rows * this.rowHeight}px;padding:0;border:0`;
    part.replaceChildren(...(rows > 0 ? [filler] : []));
  }

  // What stays is not touched, so that it keeps the focus and its picture.
  #put(lines) {
    const wanted = new Set(lines);
    for (const line of [...this.body.children]) if (!wanted.has(line)) line.remove();
    lines.forEach((line, k) => { if (this.body.children[k] !== line) this.body.insertBefore(line, this.body.children[k] || null); });
  }

  #line(place, columns, before) {
    const row = this.source.row(place);
    if (!row) return element("tr", { class: "waiting" }, element("td", { colSpan: columns.length }, "…"));
    const line = before.get(row) || element("tr", { "data-key": String(row.key) }, ...columns.map((column) => column.cell(row)));
    this.lines.set(row, line);
    line.setAttribute("aria-rowindex", String(place + 2));
    line.className = row.key === this.current ? "current" : "";
    return line;
  }

  #drawHead() {
    const focused = this.head.contains(document.activeElement) ? document.activeElement.closest("th").dataset.column : "";
    this.head.replaceChildren(...this.columns().map((column) => {
      if (column.sorts === false) return element("th", { scope: "col" }, element("span", {}, column.label));
      const button = element("button", { type: "button" }, column.label);
      if (column.title) button.title = column.title;
      button.addEventListener("click", () => this.onSort(column.id));
      const cell = element("th", { scope: "col", "data-column": column.id }, button);
      if (this.sort.id === column.id) cell.setAttribute("aria-sort", this.sort.up ? "ascending" : "descending");
      return cell;
    }));
    if (focused) this.head.querySelector(`[data-column="${CSS.escape(focused)}"] button`)?.focus();
  }

  #moveFocus(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const line = event.target.closest("tr");
    if (!by || !line) return;
    event.preventDefault();
    event.stopPropagation();
    const next = by > 0 ? line.nextElementSibling : line.previousElementSibling;
    if (next) next.querySelector(event.target.matches("input:not(:disabled)") ? "input:not(:disabled), .view" : ".view")?.focus();
  }
}
