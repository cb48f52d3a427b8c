// Elements, numbers and files, for the report and the studio. Texts become text nodes, never markup.
"use strict";

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Three figures, or a percentage for a fraction; a dash for what is missing.
export function format(value, unit, decimals) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (unit === "fraction") return value === 1 ? "yes" : value === 0 ? "no" : `${(100 * value).toFixed(1)} %`;
  if (Number.isInteger(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const digits = Number.isInteger(decimals) ? decimals : size < 1 ? 3 : size < 10 ? 2 : 1;
  return value.toFixed(digits).replace("-", "−");
}

export const counted = (number) => `${number.toLocaleString("en-US")} molecule${number === 1 ? "" : "s"}`;

export function saveFile(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
