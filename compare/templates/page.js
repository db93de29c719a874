"use strict";

// A link may lead into what is folded.
function unfold(element) {
  for (let place = element; place; place = place.parentElement) {
    if (place.tagName === "DETAILS") place.open = true;
  }
}

function arrive() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    // Then it stands for itself.
  }
  const target = document.getElementById(name);
  if (!target) return;
  unfold(target);
  document.body.classList.add("whole"); // or what is laid out on the way would move it out of sight
  target.scrollIntoView();
}
addEventListener("hashchange", arrive);
arrive();

// What does not scroll needs no stop of the tab key. Looked at when it is laid out, which happens when it comes
// near the window: to lay out everything at once would take longer than to read the page.
const laidOut = new ResizeObserver((seen) => {
  for (const { target } of seen) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    if (scrolls) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const place of document.querySelectorAll(".scroll, pre")) laidOut.observe(place);

// Printed, everything is unfolded but the answers, and folded again afterwards.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")].filter((fold) => !fold.closest(".predict"));
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of folded) fold.open = false;
});

const theme = document.querySelector(".theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.style.colorScheme || (dark ? "dark" : "light");
  document.documentElement.style.colorScheme = now === "dark" ? "light" : "dark";
});

// The nodes of the two graphs: the one at hand, and its twins on the other side. One node of each drawing can
// be reached by the tab key, the others from there by the arrows.
for (const pair of document.querySelectorAll(".pair")) {
  const card = pair.querySelector(".told");
  const twins = (node) => (node.dataset.twins ? node.dataset.twins.split(" ") : []);

  // Into view within its own drawing, and nowhere else: the page stays where it is.
  const bring = (node) => {
    const place = node.closest(".scroll");
    const inside = node.getBoundingClientRect();
    const around = place.getBoundingClientRect();
    if (inside.left < around.left || inside.right > around.right) {
      place.scrollLeft += (inside.left + inside.right - around.left - around.right) / 2;
    }
  };
  const show = (node) => {
    pair.querySelectorAll(".lit, .here").forEach((other) => other.classList.remove("lit", "here"));
    node.classList.add("here");
    for (const name of twins(node)) {
      const twin = document.getElementById(name);
      if (!twin) continue;
      twin.classList.add("lit");
      bring(twin);
    }
    card.textContent = node.getAttribute("aria-label");
  };
  const open = (node) => {
    const inside = document.getElementById(`${node.id}-inside`);
    if (!inside) return;
    inside.open = true;
    inside.querySelector(".node").focus();
  };

  for (const drawing of pair.querySelectorAll("svg")) {
    const nodes = [...drawing.querySelectorAll(".node")];
    nodes.forEach((node, k) => {
      node.classList.toggle("alone", twins(node).length === 0);
      node.addEventListener("mouseenter", () => show(node));
      node.addEventListener("click", () => open(node));
      node.addEventListener("focus", () => {
        for (const other of nodes) other.tabIndex = other === node ? 0 : -1;
        show(node);
      });
      node.addEventListener("keydown", (event) => {
        const to = { ArrowRight: k + 1, ArrowDown: k + 1, ArrowLeft: k - 1, ArrowUp: k - 1, Home: 0, End: nodes.length - 1 }[event.key];
        if (event.key === "Enter") open(node);
        if (to === undefined) return;
        event.preventDefault();
        nodes[Math.min(Math.max(to, 0), nodes.length - 1)].focus();
      });
    });
  }
}
