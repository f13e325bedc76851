// Draws every Vega-Lite chart of the page from the specification in it. Needs the bundle that defines orthobookEmbed.
(function () {
  "use strict";

  const MAX_WIDTH = 760;

  // Fit the plots to the column by what the whole drawing measures: axes and legends keep their size.
  function fit(view, stage, panels) {
    const name = "childWidth" in view.getState().signals ? "childWidth" : "width";
    const drawing = stage.querySelector("svg").viewBox.baseVal.width;
    const available = Math.min(stage.clientWidth, MAX_WIDTH);
    const width = Math.max(100, Math.floor(view.signal(name) + (available - drawing) / panels));
    return width === view.signal(name) ? Promise.resolve() : view.signal(name, width).resize().runAsync();
  }

  // Native controls have a visible label already; make it their name alone, without the value that stands beside it.
  function label(form) {
    for (const row of form.querySelectorAll(".vega-bind")) {
      const name = row.querySelector(".vega-bind-name").textContent;
      const radios = row.querySelector(".vega-bind-radio");
      if (radios) {
        radios.setAttribute("role", "radiogroup");
        radios.setAttribute("aria-label", name);
      } else {
        row.querySelector("input, select").setAttribute("aria-label", name);
      }
    }
  }

  function words(stage) {
    const texts = stage.querySelectorAll(".role-title-text text, .role-legend-label text");
    return Array.from(texts, (text) => {
      const lines = text.querySelectorAll("tspan");
      return lines.length ? Array.from(lines, (line) => line.textContent).join(", ") : text.textContent;
    }).filter(Boolean).join(". ");
  }

  async function draw(holder) {
    const specification = JSON.parse(holder.querySelector("script").textContent);
    const panels = specification.hconcat ? specification.hconcat.length : 1;
    const stage = holder.appendChild(document.createElement("div"));
    stage.className = "orthobook-stage";
    const { view } = await window.orthobookEmbed(stage, specification, { defaultStyle: false });
    const form = stage.querySelector(".vega-bindings");
    stage.prepend(form); // above the drawing, so that a telephone shows the controls together with what they change
    label(form);
    await fit(view, stage, panels);
    // The drawing carries the description; left on the stage, it would swallow the controls.
    const svg = stage.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", specification.description);
    for (const name of ["role", "aria-roledescription", "aria-label"]) stage.removeAttribute(name);

    const status = holder.appendChild(document.createElement("p"));
    status.className = "orthobook-status";
    status.setAttribute("aria-live", "polite");
    let timer;
    form.addEventListener("input", () => {
      clearTimeout(timer); // while a slider is dragged, say only where it comes to rest
      timer = setTimeout(async () => {
        await view.runAsync();
        status.textContent = words(stage);
      }, 250);
    });

    let width = stage.clientWidth;
    new ResizeObserver(() => {
      if (stage.clientWidth === width || stage.clientWidth === 0) return;
      width = stage.clientWidth;
      fit(view, stage, panels);
    }).observe(stage);
    holder.dataset.state = "ready";
  }

  for (const holder of document.querySelectorAll('.orthobook-chart[data-kind="vega"]')) {
    draw(holder).catch((error) => {
      holder.dataset.state = "failed";
      holder.append("This figure could not be drawn: " + error.message);
      console.error(error);
    });
  }
})();
