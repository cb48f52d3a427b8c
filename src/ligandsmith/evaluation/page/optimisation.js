// The plots of an optimisation: what a point is, and which objectives the Pareto front shows.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("optimisation-data").textContent);
  const byId = (id) => document.getElementById(id);
  const plot = byId("scatter");
  const dots = plot ? [...plot.querySelectorAll(".dot")] : [];

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
    plot.querySelector(".ticks-across").replaceChildren(...x.ticks.map(([value, text]) => label(atX(value), bottom + 17, "middle", text)));
    plot.querySelector(".ticks-up").replaceChildren(...y.ticks.map(([value, text]) => label(left - 5, atY(value) + 4, "end", text)));
    plot.querySelector(".title-across").textContent = x.title;
    plot.querySelector(".title-up").textContent = y.title;
    plot.setAttribute("aria-label", `${y.title} against ${x.title}: ${dots.length} ligands`);
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

  for (const figure of document.querySelectorAll("#optimisation .chart")) {
    figure.addEventListener("click", (event) => {
      const dot = event.target.closest(".dot");
      if (!dot) return;
      figure.querySelectorAll(".dot").forEach((other) => other.classList.toggle("current", other === dot));
      figure.querySelector(".said").textContent = dot.querySelector("title").textContent;
    });
  }
  if (!byId("axes")) return;
  select("across", 0);
  select("up", 1);
  byId("axes").hidden = false;
})();
