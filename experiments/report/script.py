"""What a report does when it is touched: values on hover, series on and off, all open in print.

It reads the page alone.  Without it everything is there but the toggling.
"""

SCRIPT = """\
"use strict";
(function () {
  var tip = document.getElementById("tip");
  var NEAR = 30;
  var current = null;

  function leave() {
    if (current) { current.classList.remove("on"); }
    current = null;
    tip.style.visibility = "hidden";
  }

  function show(mark) {
    if (current === mark) { return; }
    leave();
    current = mark;
    mark.classList.add("on");
    tip.textContent = mark.getAttribute("data-tip");
    var at = mark.getBoundingClientRect();
    var wide = tip.offsetWidth, high = tip.offsetHeight;
    var left = Math.min(Math.max(at.left + at.width / 2 - wide / 2, 4), innerWidth - wide - 4);
    var top = at.top - high - 8;
    if (top < 4) { top = at.bottom + 8; }
    tip.style.transform = "translate(" + left + "px," + top + "px)";
    tip.style.visibility = "visible";
  }

  function marks(svg) {
    return Array.prototype.filter.call(svg.querySelectorAll(".mark"), function (mark) {
      return !mark.closest(".off");
    });
  }

  function nearest(svg, event) {
    var box = svg.getBoundingClientRect();
    var scale = svg.viewBox.baseVal.width / box.width;
    var x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    var best = null, least = NEAR;
    marks(svg).forEach(function (mark) {
      var far = Math.hypot(mark.cx.baseVal.value - x, mark.cy.baseVal.value - y);
      if (far < least) { least = far; best = mark; }
    });
    return best;
  }

  function step(svg, by) {
    var all = marks(svg);
    if (!all.length) { return; }
    var place = all.indexOf(current);
    var next = place < 0 ? (by > 0 ? 0 : all.length - 1) : place + by;
    show(all[(next + all.length) % all.length]);
  }

  function toggle(figure, button) {
    var on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    var group = figure.querySelector('[data-series="' + button.dataset.key + '"]');
    if (group) { group.classList.toggle("off", !on); }
    leave();
  }

  document.querySelectorAll("figure.chart").forEach(function (figure) {
    var svg = figure.querySelector("svg");
    svg.querySelectorAll(".mark").forEach(function (mark) {
      var words = mark.querySelector("title");
      mark.setAttribute("data-tip", words.textContent);
      words.remove();
    });
    function look(event) {
      var mark = nearest(svg, event);
      if (mark) { show(mark); } else { leave(); }
    }
    svg.addEventListener("pointermove", look);
    svg.addEventListener("pointerdown", look);
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", function (event) {
      if (event.key === "ArrowRight") { step(svg, 1); event.preventDefault(); }
      if (event.key === "ArrowLeft") { step(svg, -1); event.preventDefault(); }
      if (event.key === "Escape") { leave(); }
    });
    figure.querySelectorAll(".legend button").forEach(function (button) {
      button.addEventListener("click", function () { toggle(figure, button); });
    });
  });

  addEventListener("scroll", leave, { passive: true });
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (part) { part.open = true; });
  });
})();
"""
