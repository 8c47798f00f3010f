// What mdBook's pages lack for who has no mouse: axe-core names it (look.mjs).
(() => {
  // The table of contents is opened by a label, which no keyboard reaches: a button in its place.
  const label = document.querySelector("label#mdbook-sidebar-toggle");
  const box = document.getElementById("mdbook-sidebar-toggle-anchor");
  if (label && box) {
    const button = document.createElement("button");
    button.type = "button";
    for (const { name, value } of label.attributes) if (name !== "for") button.setAttribute(name, value);
    button.append(...label.childNodes);
    const told = () => button.setAttribute("aria-expanded", String(box.checked));
    button.addEventListener("click", () => box.click());
    box.addEventListener("change", told);
    told();
    label.replaceWith(button);
  }
  document.getElementById("mdbook-menu-bar")?.setAttribute("role", "banner");
  // The corner of a table heads nothing.
  for (const corner of document.querySelectorAll("th:empty")) corner.replaceWith(document.createElement("td"));
  // What is wider than the screen scrolls by itself, and can be reached by the keyboard then.
  const reachable = () => {
    for (const box of document.querySelectorAll("pre > code, .table-wrapper, p:has(> img)")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  reachable();
  addEventListener("resize", reachable);
})();
