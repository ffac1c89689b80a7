// Buttons and names get their hints while a pointer or the keyboard moves, as Gradio makes them anew at times. Hints beside
// fields go at Escape (WCAG 2.2, 1.4.13), until the field is left; numbers that a slider changes are told. A block, as other
// scripts follow.
{
  let awaited = false;
  const name = () => {
    awaited = false;
    for (const [selector, hint] of Object.entries(props.hints)) {
      for (const node of document.querySelectorAll(selector)) node.title = hint;
    }
  };
  const soon = () => {
    if (!awaited) setTimeout(name, 100);
    awaited = true;
  };
  for (const kind of ["pointerover", "focusin"]) addEventListener(kind, soon, true);

  addEventListener(
    "keydown",
    ({ key }) => {
      if (key !== "Escape") return;
      for (const field of document.querySelectorAll(".hinted:is(:hover, :focus-within)")) {
        // There it closes the list at first.
        if (!field.querySelector("[aria-expanded=true]")) field.dataset.hushed = "";
      }
    },
    true,
  );
  const back = () => {
    for (const field of document.querySelectorAll("[data-hushed]:not(:hover, :focus-within)")) delete field.dataset.hushed;
  };
  for (const kind of ["focusin", "focusout", "pointerover"]) addEventListener(kind, () => setTimeout(back));

  // A slider brings what is typed into its range when the field is left.
  const limit = ({ value, min, max }) => {
    if (value === "") return null;
    if (max !== "" && Number(value) > Number(max)) return `${max} is the most`;
    return min !== "" && Number(value) < Number(min) ? `${min} is the least` : null;
  };
  const isSlider = (node) => node.matches?.(".block input[type=number]") && node.closest(".block").querySelector("input[type=range]");
  addEventListener(
    "change",
    ({ target }) => {
      if (!isSlider(target)) return;
      const field = target.closest(".block");
      const said = limit(target);
      field.querySelector(".limited")?.remove();
      if (said === null) return;
      const note = document.createElement("p");
      note.className = "limited";
      note.setAttribute("role", "status");
      note.textContent = `${said}, not ${target.value}.`;
      field.append(note);
    },
    true,
  );
  addEventListener("input", ({ target }) => isSlider(target) && target.closest(".block").querySelector(".limited")?.remove(), true);

  // Gradio's texts know no keyboard of digits.
  addEventListener(
    "pointerdown",
    ({ target }) => {
      const field = target.closest?.(".seed .hinted input");
      if (field) field.inputMode = "numeric";
    },
    true,
  );
}
