// What the page says: short notes that go away, a banner that stays, dialogs.
"use strict";

import { byId, element } from "./shared/dom.js";

const SHOWN_FOR = 6000;  // ms

export function toast(text, { bad = false, action = null } = {}) {
  const note = element("div", { class: bad ? "toast bad-toast" : "toast" }, element("span", {}, text));
  if (action) {
    const button = element("button", { type: "button", class: "ghost" }, action.label);
    button.addEventListener("click", () => { action.run(); note.remove(); });
    note.append(button);
  }
  const close = element("button", { type: "button", class: "ghost", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => note.remove());
  note.append(close);
  byId("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 2 * SHOWN_FOR : SHOWN_FOR);
}

export const failed = (error) => { toast(error.message, { bad: true }); };

export function banner(text) {
  const place = byId("banner");
  place.textContent = text;
  place.hidden = !text;
}

// Opens the page's dialog with a title and content; returns the element of the content.
export function openDialog(title, content, css = "") {
  const dialog = byId("dialog");
  const close = element("button", { type: "button", class: "ghost", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => dialog.close());
  dialog.className = `dialog ${css}`;
  dialog.replaceChildren(element("div", { class: "dialog-head" }, element("h2", { id: "dialog-title" }, title), close), content);
  dialog.showModal();
  return dialog;
}

// Runs `act` once nothing was asked for `wait` ms.
export function debounced(act, wait) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}
