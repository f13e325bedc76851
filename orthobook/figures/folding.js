// Folds a square sheet of paper as its controls are moved: the geometry of orthobook.theory.origami, and its drawing.
(function () {
  "use strict";

  const SQUARE = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  const ROUNDING = 1e-12;
  const SVG = "http://www.w3.org/2000/svg";

  // --- geometry ---

  // Apply the layers x ↦ x − 2v relu(v·x − distance), v at the angle in degrees, to the square. A sheet is a mesh as in
  // Python: vertices with their places on the sheet and their images, convex cells, creases as [edge, layer], interior.
  function fold(layers) {
    const sheet = { points: SQUARE, images: SQUARE, cells: [[0, 1, 2, 3]], creases: new Map(), interior: [] };
    layers.forEach(({ angle, distance }, index) => {
      const v = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
      const height = ([x, y]) => v[0] * x + v[1] * y - distance;
      split(sheet, sheet.images.map(height), index + 1);
      sheet.images = sheet.images.map((place) => {
        const beyond = Math.max(0, height(place));
        return [place[0] - 2 * v[0] * beyond, place[1] - 2 * v[1] * beyond];
      });
    });
    return sheet;
  }

  const key = (a, b) => (a < b ? a + " " + b : b + " " + a);
  const ends = (edge) => edge.split(" ").map(Number);

  // Split every cell whose vertices lie on both sides of the line from which they have these heights.
  function split(sheet, heights, layer) {
    heights = heights.map((h) => (Math.abs(h) <= ROUNDING ? 0 : h));
    const made = new Map(); // edge → the vertex where the line crosses it, the same for the cells on both sides
    const cuts = [];
    sheet.cells = sheet.cells.flatMap((cell) => {
      const parts = halves(cell, heights, made);
      if (parts.length === 2) cuts.push(key(parts[0][0], parts[1][0]));
      return parts;
    });
    for (const [edge, vertex] of made) {
      const [a, b] = ends(edge);
      const share = heights[a] / (heights[a] - heights[b]);
      for (const places of ["points", "images"]) {
        const [p, q] = [sheet[places][a], sheet[places][b]];
        sheet[places] = sheet[places].concat([[p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])]]);
      }
      if (!sheet.creases.has(edge)) continue;
      for (const end of [a, b]) sheet.creases.set(key(end, vertex), sheet.creases.get(edge));
      sheet.creases.delete(edge);
      sheet.interior.push(vertex);
    }
    for (const cut of cuts) sheet.creases.set(cut, layer);
  }

  // From its highest vertex a convex cell descends to its lowest and climbs back: it meets the line twice, or not.
  function halves(cell, heights, made) {
    const top = cell.reduce((best, vertex, i) => (heights[vertex] > heights[cell[best]] ? i : best), 0);
    const loop = [...cell.slice(top), ...cell.slice(0, top), cell[top]];
    const bottom = loop.reduce((best, vertex, i) => (heights[vertex] < heights[loop[best]] ? i : best), 0);
    if (heights[loop[0]] <= 0 || heights[loop[bottom]] >= 0) return [cell];
    const down = loop.findIndex((vertex) => heights[vertex] <= 0);
    const up = loop.findIndex((vertex, i) => i > bottom && heights[vertex] >= 0);
    const [first, last] = [down, up].map((i) => {
      if (heights[loop[i]] === 0) return loop[i];
      const edge = key(loop[i - 1], loop[i]);
      if (!made.has(edge)) made.set(edge, heights.length + made.size);
      return made.get(edge);
    });
    return [
      [first, ...loop.slice(down, up).filter((vertex) => vertex !== first), last],
      [last, ...loop.slice(up, -1).filter((vertex) => vertex !== last), ...loop.slice(0, down), first],
    ];
  }

  // The area of a polygon, positive if it goes counter-clockwise.
  function area(corners) {
    const [x, y] = corners[0];
    return corners.reduce((sum, [a, b], i) => {
      const [c, d] = corners[(i + 1) % corners.length];
      return sum + ((a - x) * (d - y) - (b - y) * (c - x)) / 2;
    }, 0);
  }

  // For every interior vertex, how far the sum of every other angle around it is from π.
  function kawasaki(sheet) {
    const directions = new Map(sheet.interior.map((vertex) => [vertex, []]));
    for (const edge of sheet.creases.keys()) {
      const [a, b] = ends(edge);
      for (const [vertex, other] of [[a, b], [b, a]]) {
        const [[x, y], [u, v]] = [sheet.points[vertex], sheet.points[other]];
        directions.get(vertex)?.push(Math.atan2(v - y, u - x));
      }
    }
    return sheet.interior.map((vertex) => {
      const ordered = directions.get(vertex).sort((one, other) => one - other);
      return Math.abs(ordered.reduce((sum, angle, i) => sum + (i % 2 ? angle : -angle), -Math.PI));
    });
  }

  // --- drawing ---

  const MAX_WIDTH = 760;
  const REACH = 1.28; // the folded sheet keeps within this of the middle, in half sides, as no distance is below 0.2
  const GAP = 0.1;
  const LINE = 18;
  const HEAD = 3 * LINE;

  function element(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    made.append(...children);
    return made;
  }

  const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

  // What there is to count and to measure, in three lines, each of words and coloured marks.
  function findings(sheet, areas, folds, colours) {
    const [front, back] = [1, -1].map((side) => areas.reduce((sum, a) => sum + Math.max(0, side * a), 0).toFixed(2));
    const [frontMark, backMark] = colours.map((fill) => element("tspan", { fill }, "■ "));
    const angles = (((Math.PI + Math.max(...kawasaki(sheet))) * 180) / Math.PI).toFixed(6);
    const counts = [
      count(folds, "fold", "folds"),
      count(sheet.cells.length, "region", "regions"),
      count(sheet.interior.length, "vertex", "vertices"),
    ];
    return [
      [counts.join(" · ")],
      ["area ", frontMark, `${front} front up + `, backMark, `${back} back up`],
      [sheet.interior.length ? `at every vertex alternate angles sum to ${angles}°` : "no creases meet"],
    ];
  }

  // How bold lines may be in a figure of this width, so that those of many cells do not run together.
  const boldness = (cells, width) => Math.min(1, width / 600) * Math.min(1, Math.sqrt(80 / cells));

  // The paper with its vertices at these pixels, translucent, as what lies on top is not known. The later the fold, the
  // bolder its creases.
  function paper(sheet, pixels, areas, folds, { ink, colours, opacity, weight }) {
    const path = (vertices) => "M" + vertices.map((vertex) => pixels[vertex].join(",")).join("L");
    const group = element("g", { stroke: ink, "stroke-linejoin": "round", "stroke-linecap": "round" });
    sheet.cells.forEach((cell, i) => {
      const fill = colours[areas[i] > 0 ? 0 : 1];
      group.append(element("path", { d: path(cell) + "Z", fill, "fill-opacity": opacity, "stroke-width": weight / 2 }));
    });
    for (const [edge, layer] of sheet.creases) {
      group.append(element("path", { d: path(ends(edge)), "stroke-width": weight * (0.5 + (2 * layer) / folds) }));
    }
    return group;
  }

  // The flat sheet and the folded one to one scale, as an SVG of the given width, and the words in it.
  function picture({ folds, first, turn, distance }, { ink, colours }, width) {
    const sheet = fold(Array.from({ length: folds }, (_, l) => ({ angle: first + l * turn, distance })));
    const areas = sheet.cells.map((cell) => area(cell.map((vertex) => sheet.images[vertex])));
    const lines = findings(sheet, areas, folds, colours);

    const unit = width / (2 + GAP + 2 * REACH);
    const middle = HEAD + REACH * unit;
    const height = middle + REACH * unit;
    const bold = boldness(sheet.cells.length, width);
    const around = (centre) => ([x, y]) => [(centre + unit * x).toFixed(2), (middle - unit * y).toFixed(2)];
    const [flat, folded] = [around(unit), around(width - REACH * unit)];
    const text = (x, y, ...parts) => element("text", { x, y, fill: ink, "font-size": 12 }, ...parts);
    const outline = { fill: "none", stroke: ink, "stroke-opacity": 0.5, "stroke-dasharray": "2 4" };
    const svg = element(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}` },
      ...lines.map((parts, i) => text(0, 12 + i * LINE, ...parts)),
      text(0, middle - unit - 6, "flat"),
      text(width - (REACH + 1) * unit, middle - unit - 6, "folded"),
      paper(sheet, sheet.points.map(flat), areas, folds, { ink, colours, opacity: 0.35, weight: bold }),
      element("path", { d: "M" + SQUARE.map(folded).join("L") + "Z", ...outline }),
      paper(sheet, sheet.images.map(folded), areas, folds, { ink, colours, opacity: 0.22, weight: 0.4 * bold }),
    );
    const words = lines.map((parts) => parts.filter((part) => typeof part === "string").join(""));
    return { svg, words: words.join(". ") };
  }

  // --- controls ---

  // A labelled slider like those of the other charts; `moved` hears its number.
  function slider({ label, unit, ...range }, moved) {
    const row = document.createElement("div");
    row.className = "vega-bind";
    row.innerHTML = '<label><span class="vega-bind-name"></span><input type="range"><span></span></label>';
    const [name, input, shown] = row.firstChild.children;
    name.textContent = label;
    input.setAttribute("aria-label", label);
    Object.assign(input, range);
    const show = () => {
      shown.textContent = input.value + unit;
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    show();
    input.addEventListener("input", () => {
      show();
      moved(Number(input.value));
    });
    return row;
  }

  function display(holder) {
    const { description, controls, ...style } = JSON.parse(holder.querySelector("script").textContent);
    const values = Object.fromEntries(Object.entries(controls).map(([name, { value }]) => [name, value]));
    const stage = holder.appendChild(document.createElement("div"));
    stage.className = "orthobook-stage";
    const rows = stage.appendChild(document.createElement("div"));
    rows.className = "vega-bindings";
    const frame = stage.appendChild(document.createElement("div"));
    const status = holder.appendChild(document.createElement("p"));
    status.className = "orthobook-status";
    status.setAttribute("aria-live", "polite");

    let width, timer;
    function draw() {
      width = stage.clientWidth;
      const { svg, words } = picture(values, style, Math.min(width || MAX_WIDTH, MAX_WIDTH));
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", description);
      frame.replaceChildren(svg);
      return words;
    }
    for (const [name, control] of Object.entries(controls)) {
      rows.append(
        slider(control, (value) => {
          values[name] = value;
          const words = draw();
          clearTimeout(timer); // while a slider is dragged, say only where it comes to rest
          timer = setTimeout(() => (status.textContent = words), 250);
        }),
      );
    }
    draw();
    new ResizeObserver(() => stage.clientWidth === width || draw()).observe(stage);
    holder.dataset.state = "ready";
  }

  // In a notebook every figure brings this script along, so there may be others that are drawn already.
  for (const holder of document.querySelectorAll('.orthobook-chart[data-kind="folding"]:not([data-state])')) {
    try {
      display(holder);
    } catch (error) {
      holder.dataset.state = "failed";
      holder.append("This figure could not be drawn: " + error.message);
      console.error(error);
    }
  }

  window.orthobookFolding = { fold, kawasaki }; // for the tests
})();
