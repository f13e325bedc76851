// Starts the presentation. All slides stay laid out, as the figures draw themselves to the width that they find.
(function () {
  "use strict";
  Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0.02,
    center: false,
    hash: true,
    slideNumber: "c/t",
    transition: "none",
    viewDistance: 1000,
    mobileViewDistance: 1000,
    plugins: [RevealNotes],
  });
})();
