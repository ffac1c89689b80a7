// On phones a bar is fixed at the bottom: what the tab key leads to is scrolled above it (WCAG 2.2, 2.4.11). A block, as
// other scripts follow.
{
  const GAP = 8; // pixels, for the outline
  const fixedBar = () =>
    [...document.querySelectorAll(".run")].find((each) => each.offsetHeight && getComputedStyle(each).position === "fixed");
  let tabbed = false;
  addEventListener("keydown", ({ key }) => (tabbed = key === "Tab"), true);
  addEventListener("pointerdown", () => (tabbed = false), true);
  addEventListener("focusin", ({ target }) => {
    const bar = tabbed && !target.closest(".run") && fixedBar();
    if (!bar) return;
    setTimeout(() => {
      const { top, bottom } = target.getBoundingClientRect();
      const covered = bottom + GAP - bar.getBoundingClientRect().top;
      if (covered > 0) scrollBy(0, Math.min(covered, top));
    });
  });
}
