// Tells the bench where things are on the screen, and what was done to them. No timers: an idle page stays idle.
"use strict";
(() => {
  const name = location.pathname.slice(1).replace(".html", "");
  const send = (report) => navigator.sendBeacon("/report", JSON.stringify({ page: name, at_ms: Date.now(), ...report }));
  const origin = () => {
    // With a frame drawn by the window manager the window has no borders of its own: all chrome stands above the page.
    return [window.screenX, window.screenY + window.outerHeight - window.innerHeight];
  };
  let offset = null; // found exactly at the first pointer event
  document.addEventListener("mousemove", (e) => {
    const now = [e.screenX - e.clientX, e.screenY - e.clientY];
    if (!offset || offset[0] !== now[0] || offset[1] !== now[1]) { offset = now; layout(); }
  }, { passive: true });
  const layout = () => {
    const [left, top] = offset || origin();
    const targets = {};
    for (const element of document.querySelectorAll("[data-name]")) {
      const box = element.getBoundingClientRect();
      const visible = box.bottom > 0 && box.top < innerHeight && box.width > 0;
      if (visible) targets[element.dataset.name] = [left + box.x, top + box.y, box.width, box.height].map(Math.round);
    }
    const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 4;
    send({ what: "layout", view: [left, top, innerWidth, innerHeight], at_end: end, at_top: scrollY < 4, targets });
  };
  let waiting = 0;
  const later = () => { clearTimeout(waiting); waiting = setTimeout(layout, 150); };
  addEventListener("load", () => { layout(); later(); });
  addEventListener("focus", later);
  addEventListener("resize", later);
  addEventListener("pageshow", later);
  addEventListener("scroll", () => { later(); }, { passive: true });
  addEventListener("scrollend", () => send({ what: "scrolled", to_px: Math.round(scrollY) }));
  document.addEventListener("click", (e) => {
    const target = e.target.closest("[data-name]");
    send({ what: "click", target: target ? target.dataset.name : "", x: e.screenX, y: e.screenY });
    later();
  }, true);
  document.addEventListener("change", (e) => {
    const field = e.target;
    const text = field.tagName === "SELECT" ? field.selectedOptions[0].text : field.type === "checkbox" ? field.checked : field.value.length;
    send({ what: "change", target: field.dataset.name || field.name, value: text });
    later();
  }, true);
})();
