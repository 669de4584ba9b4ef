"use strict";
(function () {
  const table = document.getElementById("samples");
  if (!table) { return; }
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const status = document.getElementById("filter-status");
  const run = document.getElementById("filter-run");
  const words = document.getElementById("filter-text");
  const count = document.getElementById("filter-count");

  function key(row, column) {
    const cell = row.cells[column];
    const given = cell.dataset.sort;
    return given === undefined ? cell.textContent.trim() : given === "" ? null : Number(given);
  }

  // What has no value comes last, whichever way the others go.
  function compare(one, other, sign) {
    if (one === null || other === null) { return (one === null) - (other === null); }
    if (typeof one === "number" && typeof other === "number") { return sign * (one - other); }
    return sign * String(one).localeCompare(String(other));
  }

  function sort(column) {
    const ascending = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach(function (head) { head.removeAttribute("aria-sort"); });
    heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
    rows.map(function (row) { return [key(row, column), row]; })
      .sort(function (a, b) { return compare(a[0], b[0], ascending ? 1 : -1); })
      .forEach(function (pair) { body.appendChild(pair[1]); });
  }

  function filter() {
    const text = words.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach(function (row) {
      const fits = (!status.value || row.dataset.status === status.value) &&
        (!run || !run.value || row.dataset.run === run.value) &&
        (!text || row.textContent.toLowerCase().includes(text));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = shown + " of " + rows.length + " rows shown";
  }

  heads.forEach(function (head, column) {
    const button = head.querySelector("button");
    if (button) { button.addEventListener("click", function () { sort(column); }); }
  });
  [status, run, words].forEach(function (control) {
    if (control) { control.addEventListener("input", filter); }
  });
  document.querySelector(".controls").hidden = false;
  filter();
})();
