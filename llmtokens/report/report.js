"use strict";
// Names of the points of a map: the nearest one to the pointer or the finger, in a line of its own.
for (const map of document.querySelectorAll("svg.map")) {
  const line = map.closest("figure").querySelector(".name");
  const points = Array.from(map.querySelectorAll("circle"), (circle) => {
    const title = circle.querySelector("title");
    const point = { circle, x: circle.cx.baseVal.value, y: circle.cy.baseVal.value,
                    name: title.textContent };
    title.remove();  // or the browser would show it a second time
    return point;
  });
  let last = null;
  const show = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(map.getScreenCTM().inverse());
    let best = null, least = 20 ** 2;
    for (const point of points) {
      const distance = (point.x - at.x) ** 2 + (point.y - at.y) ** 2;
      if (distance < least) { best = point; least = distance; }
    }
    if (best === last) return;
    if (last) last.circle.classList.remove("chosen");
    if (best) best.circle.classList.add("chosen");
    line.textContent = best ? best.name : line.dataset.hint;
    last = best;
  };
  map.addEventListener("pointermove", show);
  map.addEventListener("pointerdown", show);
}
