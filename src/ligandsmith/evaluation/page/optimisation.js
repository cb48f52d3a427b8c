// The Pareto front: which objectives it shows, and what a point is.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("optimisation-data").textContent);
  const byId = (id) => document.getElementById(id);
  const dots = [...document.querySelectorAll("#scatter-dots .dot")];
  if (!dots.length) return;

  function place(axis, value, first, last) {
    const share = Math.min(Math.max((value - axis.low) / (axis.high - axis.low), 0), 1);
    return Math.round((first + share * (last - first)) * 10) / 10;
  }

  function label(x, y, anchor, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "text");
    for (const [name, value] of Object.entries({ x, y, "text-anchor": anchor })) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  }

  function draw() {
    const across = Number(byId("across").value), up = Number(byId("up").value);
    const { left, right, top, bottom } = data.layout;
    const x = data.axes[across], y = data.axes[up];
    const atX = (value) => place(x, value, left, right), atY = (value) => place(y, value, bottom, top);
    byId("scatter-across").replaceChildren(...x.ticks.map(([value, text]) => label(atX(value), bottom + 17, "middle", text)));
    byId("scatter-up").replaceChildren(...y.ticks.map(([value, text]) => label(left - 5, atY(value) + 4, "end", text)));
    byId("scatter-across-title").textContent = x.title;
    byId("scatter-up-title").textContent = y.title;
    byId("scatter").setAttribute("aria-label", `${y.title} against ${x.title}: ${dots.length} ligands`);
    dots.forEach((dot, k) => dot.setAttribute("transform", `translate(${atX(data.dots[k][across])},${atY(data.dots[k][up])})`));
  }

  function select(id, chosen) {
    data.axes.forEach((axis, k) => {
      const option = document.createElement("option");
      option.value = String(k);
      option.textContent = axis.title;
      option.selected = k === chosen;
      byId(id).append(option);
    });
    byId(id).addEventListener("input", draw);
  }

  byId("scatter-dots").addEventListener("click", (event) => {
    const dot = event.target.closest(".dot");
    if (!dot) return;
    dots.forEach((other) => other.classList.toggle("current", other === dot));
    byId("dot-text").textContent = dot.querySelector("title").textContent;
  });
  if (!byId("axes")) return;
  select("across", 0);
  select("up", 1);
  byId("axes").hidden = false;
})();
