// Starts the presentation, and makes smaller what is too tall for the screen.
(function () {
  "use strict";

  const HEIGHT = 720;
  const LARGEST = 1.35; // of a figure that moves, whose writing is small on a wall

  // The height of an element in the slides' own pixels, however large they are shown.
  function height(element) {
    const shown = document.querySelector(".slides").getBoundingClientRect().height / HEIGHT;
    return element.getBoundingClientRect().height / shown;
  }

  // A figure takes the room that there is; text and formulas are made smaller by as little as it takes.
  function fit(section) {
    const chart = section.querySelector(".orthobook-chart");
    if (chart) {
      const rest = height(section) - height(chart);
      chart.style.zoom = Math.min(LARGEST, (HEIGHT - rest) / height(chart));
    } else if (height(section) > HEIGHT) {
      section.style.zoom = HEIGHT / height(section);
    }
  }

  function drawn() {
    return [...document.querySelectorAll(".orthobook-chart")].every((chart) => chart.dataset.state);
  }

  async function start() {
    // All slides stay laid out, as the figures draw themselves to the width that they find.
    await Reveal.initialize({
      width: 1280,
      height: HEIGHT,
      margin: 0.02,
      center: false,
      hash: true,
      slideNumber: "c/t",
      transition: "none",
      viewDistance: 1000,
      mobileViewDistance: 1000,
      plugins: [RevealNotes],
    });
    await MathJax.startup.promise;
    while (!drawn()) await new Promise((resolve) => setTimeout(resolve, 50));
    document.querySelectorAll(".slides > section").forEach(fit);
    document.documentElement.dataset.slides = "ready";
  }

  start();
})();
