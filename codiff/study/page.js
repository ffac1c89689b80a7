"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const content = JSON.parse(at("content").textContent);
  const STORE = `codiff-study-${content.study}`;
  const ANSWERED = 180; // milliseconds for which a choice stays marked
  const GUARD = 220; // milliseconds for which new pictures take no answer: a double click is one choice
  const total = Object.keys(content.trials).length;

  /* What is random is drawn once for each participant and then follows from `seed`. */

  const drawn = (words) => crypto.getRandomValues(new Uint32Array(words));
  const hex = (words) => Array.from(drawn(words), (word) => word.toString(16).padStart(8, "0")).join("");

  // Marsaglia, "Xorshift RNGs", 2003: 32 bits by the shifts 13, 17, 5; never 0.
  const generator = (seed) => {
    let word = seed >>> 0 || 1;
    const next = () => {
      word ^= word << 13;
      word ^= word >>> 17;
      word ^= word << 5;
      return word >>> 0;
    };
    for (let warm = 0; warm < 16; warm += 1) next(); // small seeds begin with small numbers
    return next;
  };

  const shuffled = (items, next) => {
    const order = [...items];
    for (let last = order.length - 1; last > 0; last -= 1) {
      const other = next() % (last + 1);
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order;
  };

  // One question after the other, each question's trials shuffled. Half of all participants see every pair in
  // exchanged places, which keeps whatever balance the pairs have.
  const plan = (seed) => {
    const next = generator(seed);
    const mirrored = (next() >>> 16) % 2 === 1;
    const order = shuffled(Object.keys(content.questions), next).flatMap((question) => {
      const names = Object.keys(content.trials).filter((name) => content.trials[name].question === question);
      return shuffled(names.sort(), next);
    });
    return { mirrored, order };
  };

  /* Answers so far, kept in this browser alone. */

  let keeps = true;
  let state = null;
  let planned = null;

  const fresh = () => ({ participant: hex(4), seed: drawn(1)[0], answers: [] });

  const fits = (saved) => {
    const order = plan(saved.seed).order;
    return /^[0-9a-f]{32}$/.test(saved.participant) && saved.answers.every((answer, i) => answer.trial === order[i]);
  };

  const load = () => {
    let saved = null;
    try {
      saved = JSON.parse(localStorage.getItem(STORE));
    } catch {
      // forbidden here, which `save` finds out, or broken, which a new start mends
    }
    try {
      state = saved !== null && fits(saved) ? saved : fresh();
    } catch {
      state = fresh();
    }
    planned = plan(state.seed);
    save();
  };

  const save = () => {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
    } catch {
      keeps = false;
    }
  };

  /* Screens. */

  let shows = 0; // which showing of a trial is the present one
  let visibleSince = null; // milliseconds; null while no answer is taken

  const show = (id) => {
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
    const during = id === "trial" || id === "part";
    at("header").hidden = !during;
    if (during) {
      const done = state.answers.length;
      at("bar").max = total;
      at("bar").value = done;
      at("count").textContent = `${done + 1} of ${total}`;
      at("back").disabled = done === 0;
    }
    window.scrollTo(0, 0);
  };

  const showStart = () => {
    const minutes = Math.max(1, Math.round((total * content.secondsEach) / 60));
    at("length").textContent = `${total} choices, about ${minutes} ${minutes === 1 ? "minute" : "minutes"}.`;
    at("notice").replaceChildren(
      ...content.notice.map((text) => Object.assign(document.createElement("p"), { textContent: text })),
    );
    const done = state.answers.length;
    at("unkept").hidden = keeps;
    at("resumed").hidden = done === 0;
    at("resumed").textContent = `Welcome back: ${done} of ${total} choices are made already.`;
    at("begin").textContent = done === 0 ? "I agree to take part" : "Go on";
    show("start");
    at("start-title").focus({ preventScroll: true }); // not the button: nobody agrees by a stray key
  };

  const questionOf = (place) => content.trials[planned.order[place]].question;

  const advance = () => {
    const place = state.answers.length;
    if (place === total) showEnd();
    else if (place === 0 || questionOf(place) !== questionOf(place - 1)) showPart(place);
    else showTrial();
  };

  const showPart = (place) => {
    visibleSince = null;
    const questions = [...new Set(planned.order.map((name) => content.trials[name].question))];
    const question = questionOf(place);
    const number = planned.order.filter((name) => content.trials[name].question === question).length;
    const part = `Part ${questions.indexOf(question) + 1} of ${questions.length}`;
    at("part-count").textContent = questions.length > 1 ? part : "";
    at("part-ask").textContent = content.questions[question].ask;
    at("part-hint").textContent = `The next ${number} choices ask this.`;
    show("part");
    at("go").focus({ preventScroll: true });
  };

  const pairOf = (trial) => (planned.mirrored ? [trial.second, trial.first] : [trial.first, trial.second]);

  const showReference = (trial) => {
    const reference = trial.reference === null ? {} : content.references[trial.reference];
    const label = content.questions[trial.question].label;
    at("words").hidden = reference.words === undefined;
    at("words-label").textContent = label;
    at("words-text").textContent = reference.words ?? "";
    at("drawn").hidden = reference.picture === undefined;
    at("drawn-label").textContent = label;
    at("drawn-picture").alt = label;
    if (reference.picture !== undefined) at("drawn-picture").src = reference.picture;
    at("pair").dataset.reference = Object.keys(reference)[0] ?? "none";
  };

  const showTrial = async () => {
    visibleSince = null;
    shows += 1;
    const mine = shows;
    const trial = content.trials[planned.order[state.answers.length]];
    const pictures = [at("first-picture"), at("second-picture")];
    at("trial").setAttribute("aria-busy", "true");
    at("ask").textContent = content.questions[trial.question].ask;
    showReference(trial);
    pairOf(trial).forEach((name, i) => {
      pictures[i].src = content.pictures[name];
    });
    for (const choice of document.querySelectorAll(".choice")) choice.classList.remove("chosen");
    show("trial");
    await Promise.allSettled(pictures.map((picture) => picture.decode()));
    const since = performance.now();
    await new Promise((done) => setTimeout(done, GUARD));
    if (mine !== shows || at("trial").hidden) return;
    visibleSince = since;
    at("trial").setAttribute("aria-busy", "false");
  };

  const choose = (place) => {
    if (visibleSince === null) return;
    const milliseconds = Math.round(performance.now() - visibleSince);
    const trial = planned.order[state.answers.length];
    visibleSince = null;
    at("trial").setAttribute("aria-busy", "true");
    state.answers.push({ trial, chosen: pairOf(content.trials[trial])[place], place: place + 1, milliseconds });
    save();
    at(["first", "second"][place]).classList.add("chosen");
    setTimeout(advance, ANSWERED);
  };

  const undo = () => {
    const marked = visibleSince === null && !at("trial").hidden;
    if (marked || state.answers.length === 0) return;
    state.answers.pop();
    save();
    showTrial();
  };

  const showEnd = () => {
    at("saved").textContent = "";
    at("another").hidden = true;
    show("end");
    at("save").focus({ preventScroll: true });
  };

  const exported = () => ({
    format: "codiff study answers",
    version: 1,
    study: content.study,
    participant: state.participant,
    seed: state.seed,
    mirrored: planned.mirrored,
    answers: state.answers,
  });

  const download = () => {
    const file = new Blob([`${JSON.stringify(exported(), null, 2)}\n`], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `answers-${content.study}-${state.participant.slice(0, 8)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    at("saved").textContent = `Saved as ${link.download}, where this browser keeps downloads.`;
    at("another").hidden = false;
  };

  const restart = () => {
    state = fresh();
    planned = plan(state.seed);
    save();
    showStart();
  };

  /* Input. */

  const KEYS = { ArrowLeft: 0, ArrowUp: 0, 1: 0, ArrowRight: 1, ArrowDown: 1, 2: 1 };

  document.addEventListener("keydown", (event) => {
    if (at("trial").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in KEYS) {
      event.preventDefault();
      choose(KEYS[event.key]);
    } else if (event.key === "Backspace") {
      event.preventDefault();
      undo();
    }
  });

  at("first").addEventListener("click", () => choose(0));
  at("second").addEventListener("click", () => choose(1));
  at("begin").addEventListener("click", advance);
  at("go").addEventListener("click", showTrial);
  at("back").addEventListener("click", undo);
  at("save").addEventListener("click", download);
  at("another").addEventListener("click", restart);

  // Another tab with the same study has moved on: show what holds now rather than overwrite it.
  window.addEventListener("storage", (event) => {
    if (event.key === STORE) window.location.reload();
  });

  load();
  if (state.answers.length === total) showEnd();
  else showStart();
})();
