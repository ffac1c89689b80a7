// Brings to view what comes of a run: the error where it is refused, the pictures in the making where it begins on a
// narrow screen. Once, and only while whoever asked for it does nothing else. A block, as other scripts follow.
{
  const NARROW = "(max-width: 899px)";
  // What is meant by a field, the first of these that it has.
  const CONTROLS = ["textarea", "[role=application]", "input[type=number], input[type=text], [role=combobox]", "input", "button"];
  let asked = null; // {form, stage, told, begun}: the run that is waited for

  const byId = (id) => document.getElementById(id);
  const shown = (node) => node.checkVisibility();
  const alerts = (form) => [...document.querySelectorAll(`[id^="${form}-"][id$="-error"] [role=alert]`)];
  const bring = (node, block) => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    node.scrollIntoView({ block, behavior: calm ? "auto" : "smooth" });
  };

  const control = (field) => {
    for (const kind of field ? CONTROLS : []) {
      const found = [...field.querySelectorAll(kind)].find((node) => shown(node) && !node.disabled);
      if (found) return found;
    }
    return null;
  };

  const show = (line, field) => {
    if (!control(field)) line.tabIndex = -1;
    (control(field) ?? line).focus({ preventScroll: true });
    bring(line, "center");
  };

  const name = (field) => field?.querySelector(".switch .label-text, [data-testid=block-info]")?.textContent.trim();

  const refuse = (form, alert) => {
    const line = alert.closest("[id]");
    const place = alert.closest(`[id^="${form}-"][id$="-error"]`) ?? line;
    const field = byId(place.id.replace(/-error$/, ""));
    const isRun = place.id === `${form}-run-error`;
    const link = document.querySelector(`#${form}-progress .refused a`);
    if (link && !isRun) {
      link.href = `#${place.id}`;
      link.textContent = name(field) ? `Something is wrong: see ${name(field)}` : "Something is wrong: see where";
      link.onclick = (event) => {
        event.preventDefault();
        show(place, field);
      };
      link.parentElement.hidden = false;
    }
    // A section that opens takes some frames.
    setTimeout(() => show(place, isRun ? null : field), 60);
  };

  const look = () => {
    for (const pointer of document.querySelectorAll(".refused:not([hidden])")) {
      const line = byId(pointer.firstElementChild.hash.slice(1));
      pointer.hidden = !line?.querySelector("[role=alert]");
    }
    if (!asked) return;
    const { form, stage, told } = asked;
    const alert = alerts(form).find((each) => !told.has(each.dataset.number));
    if (alert) {
      asked = null;
      refuse(form, alert);
    } else if (!asked.begun && byId(`${form}-cancel`)?.disabled === false) {
      asked.begun = true;
      if (stage && matchMedia(NARROW).matches) bring(stage, "start");
    }
  };

  const forget = () => (asked = null);
  for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, forget, { capture: true, passive: true });
  addEventListener(
    "click",
    ({ target }) => {
      const run = target.closest?.('button[id$="-run"]');
      if (!run) return;
      const form = run.id.replace(/-run$/, "");
      const told = new Set(alerts(form).map((each) => each.dataset.number));
      asked = { form, told, stage: run.closest(".outcome")?.querySelector(".stage"), begun: false };
      look();
    },
    true,
  );
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributeFilter: ["disabled"] });
}
