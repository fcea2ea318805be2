"use strict";
// Opacity of the overlay, and zoom that keeps the middle of the frame where it is.
(() => {
  for (const viewer of document.querySelectorAll(".viewer")) {
    const frame = viewer.querySelector(".frame");
    const layers = viewer.querySelector(".layers");
    const overlay = viewer.querySelector(".overlay");
    const opacity = viewer.querySelector(".opacity");
    const zoom = viewer.querySelector(".zoom");
    const original = viewer.querySelector(".original");

    if (opacity && overlay) {
      opacity.addEventListener("input", () => { overlay.style.opacity = String(opacity.value / 100); });
    }
    zoom.addEventListener("input", () => {
      const x = (frame.scrollLeft + frame.clientWidth / 2) / layers.offsetWidth;
      const y = (frame.scrollTop + frame.clientHeight / 2) / layers.offsetHeight;
      layers.style.width = `${zoom.value}%`;
      frame.scrollLeft = x * layers.offsetWidth - frame.clientWidth / 2;
      frame.scrollTop = y * layers.offsetHeight - frame.clientHeight / 2;
    });
    function fail() {
      frame.hidden = true;
      viewer.querySelector(".missing").hidden = false;
    }
    original.addEventListener("error", fail);
    if (original.complete && original.naturalWidth === 0 && original.currentSrc) fail();
  }
})();
