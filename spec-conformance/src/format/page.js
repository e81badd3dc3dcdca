"use strict";
const rows = [...document.querySelectorAll(".clauses tbody tr")];
const form = document.querySelector(".filters");
const marks = (row) => [...row.querySelectorAll("td[class]")].map((cell) => cell.className);

// A square for each clause, linked to its row.
for (const squares of document.querySelectorAll(".squares")) {
  for (const row of rows) {
    const cell = row.querySelectorAll("td[class]")[squares.dataset.column];
    const square = document.createElement("a");
    square.href = "#" + row.id;
    square.className = cell.className + (row.dataset.level === "SHOULD" ? " should" : "");
    square.title = row.dataset.level + " " + row.id + "\n" + row.cells[2].textContent + "\n" + cell.title;
    square.addEventListener("click", () => { form.reset(); filter(); });
    squares.append(square);
  }
}

function filter() {
  const chosen = new FormData(form);
  const words = chosen.get("text").toLowerCase().split(/\s+/).filter(Boolean);
  const [levels, verdicts] = [chosen.getAll("level"), chosen.getAll("mark")];
  let shown = 0;
  for (const row of rows) {
    const text = (row.id + " " + row.cells[2].textContent).toLowerCase();
    const own = marks(row);
    row.hidden = !(levels.includes(row.dataset.level)
      && own.some((mark) => verdicts.includes(mark))
      && (!chosen.get("area") || chosen.get("area") === row.dataset.area)
      && (!chosen.get("differ") || new Set(own).size > 1)
      && words.every((word) => text.includes(word)));
    shown += row.hidden ? 0 : 1;
  }
  document.querySelector("#shown").textContent = shown + " of " + rows.length;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());

for (const link of document.querySelectorAll("a[data-area]")) {
  link.addEventListener("click", () => { form.reset(); form.elements.area.value = link.dataset.area; filter(); });
}

document.querySelector("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
});
filter();
