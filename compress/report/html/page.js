"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const missing = null;

  const linked = (to, name) => {
    if (!to) return document.createTextNode(name);
    const link = document.createElement("a");
    link.href = "#" + to;
    link.textContent = name;
    return link;
  };

  // The specification of one axis in one size. Texts are data and never part of an expression.
  const specification = (choice, layout) => {
    const spec = structuredClone(page.frame);
    const { x, y } = spec.layer[0].encoding;
    x.scale.domain = choice.x;
    x.axis.title = choice.title + ", log scale";
    x.axis.values = choice.ticks;
    y.scale.domain = choice.y;
    spec.width = layout.width;
    spec.height = layout.height;
    const { levels, names, bestnames, marknames } = layout;
    spec.datasets = { ...choice.data, levels, names, bestnames, marknames };
    return spec;
  };

  const draw = (section, choice) => {
    const plot = section.querySelector(".plot");
    const fits = choice.layouts.filter((each) => each.width + 62 <= plot.clientWidth);
    const layout = fits.length ? fits[fits.length - 1] : choice.layouts[0];
    const drawn = choice.field + layout.width;
    if (plot.dataset.drawn === drawn) return;
    plot.dataset.drawn = drawn;
    const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: false };
    vegaEmbed(plot, specification(choice, layout), options).then(({ view }) => {
      plot.querySelector("svg").setAttribute("aria-hidden", "true"); // the ladder says it in words
      plot.dataset.shown = drawn;
      view.addEventListener("click", (event, item) => {
        if (item && item.datum && item.datum.to) location.hash = item.datum.to;
      });
    });
  };

  const tell = (section, choice) => {
    const answer = section.querySelector(".answer");
    answer.replaceChildren(...choice.answer.map(([part, to]) => linked(to, part)));
    const steps = choice.ladder.map(({ name, to, told }) => {
      const step = document.createElement("li");
      step.append(linked(to, name), ": " + told);
      return step;
    });
    section.querySelector(".ladder").replaceChildren(...steps);
    const others = choice.marks.map((told) => {
      const each = document.createElement("li");
      each.textContent = told;
      return each;
    });
    section.querySelector(".others").replaceChildren(...others);
    for (const each of section.querySelectorAll(".of-others")) each.hidden = !others.length;
    section.querySelector(".outside").textContent = choice.outside;
    section.querySelector(".of-published").hidden = !choice.layouts[0].levels.length && !choice.data.limits.length;
    draw(section, choice);
  };

  // What a cell sorts by: the number that it begins with, or its text; nothing comes last.
  const key = (cell) => {
    const text = cell.textContent.trim();
    const number = /^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?(?=$|[ %])/i.exec(text);
    return number ? Number(number[0].replaceAll(",", "")) : text || missing;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  const sort = (table, head) => {
    const column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row, index) => [key(row.cells[column]), index, row]);
    rows.sort(([a, i], [b, j]) => {
      if (a === missing || b === missing) return (a === missing) - (b === missing) || i - j;
      return (down ? compare(b, a) : compare(a, b)) || i - j;
    });
    table.tBodies[0].append(...rows.map(([, , row]) => row));
  };

  const filter = (section, words) => {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...section.querySelector(".rows").tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    section.querySelector(".count").textContent = wanted.length ? `${shown} of ${rows.length} lines` : `${rows.length} lines`;
  };

  document.querySelectorAll("section.comparison").forEach((section, index) => {
    const choices = page.sections[index];
    const axis = section.querySelector(".axis");
    const chosen = () => choices.find((choice) => choice.field === axis.value);
    axis.addEventListener("change", () => tell(section, chosen()));
    const table = section.querySelector(".rows");
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button").addEventListener("click", () => sort(table, head));
    }
    const search = section.querySelector(".filter");
    search.addEventListener("input", () => filter(section, search.value));
    const more = section.querySelector(".more-columns");
    more.addEventListener("click", () => {
      more.setAttribute("aria-pressed", String(table.classList.toggle("all")));
    });
    tell(section, chosen());
    new ResizeObserver(() => draw(section, chosen())).observe(section.querySelector(".plot"));
  });

  const reveal = () => {
    const run = location.hash.startsWith("#run-") && document.getElementById(location.hash.slice(1));
    if (!run) return;
    run.open = true;
    run.scrollIntoView();
    run.querySelector("summary").focus();
  };
  addEventListener("hashchange", reveal);
  reveal();

  document.querySelectorAll(".copy").forEach((button) => {
    button.addEventListener("click", async () => {
      const command = button.parentElement.querySelector("code");
      getSelection().selectAllChildren(command);
      let done = false;
      try {
        await navigator.clipboard.writeText(command.textContent);
        done = true;
      } catch {
        done = document.execCommand("copy");
      }
      button.firstChild.data = done ? "Copied" : "Selected";
      setTimeout(() => { button.firstChild.data = "Copy"; }, 2000);
    });
  });
})();
