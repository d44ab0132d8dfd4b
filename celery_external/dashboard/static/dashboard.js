// What makes the pages nicer with a script; without it they do all the same.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const region = () => document.getElementById("live");
  const picks = () => [...document.querySelectorAll("input[name=pick]")];

  function say(text) {
    const status = document.getElementById("live-status");
    if (status && status.textContent !== text) status.textContent = text;
  }

  // Nobody loses what they have selected, unfolded or reached, and nothing moves under their hand.
  function isInUse() {
    const found = region();
    return Boolean(found) && (
      found.contains(document.activeElement) ||
      found.querySelector("input:checked, details[open]") !== null ||
      (!document.getSelection().isCollapsed && found.contains(document.getSelection().anchorNode))
    );
  }

  function pause(event, stop) {
    if (!isInUse()) return;
    stop(event);
    say("Refreshing is paused.");
  }

  let before = "";
  const summary = () => {
    const count = document.getElementById("count");
    const shown = region();
    return count ? count.textContent.trim() : shown ? shown.dataset.shown || "" : "";
  };

  document.addEventListener("htmx:beforeRequest", (event) => pause(event, (e) => e.preventDefault()));
  document.addEventListener("htmx:beforeSwap", (event) => {
    pause(event, (e) => { e.detail.shouldSwap = false; });
    before = summary();
  });
  document.addEventListener("htmx:afterSettle", () => {
    const now = summary();
    // Told only what has changed: every five seconds would be too often.
    say(now === before || !document.getElementById("count") ? "" : `Now ${now}`);
    const changed = document.getElementById("changed");
    if (changed && now !== shownAtFirst) changed.hidden = false;
  });
  const failed = () => say("What is shown may be out of date: the last refresh did not work.");
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, failed);
  }

  const shownAtFirst = summary();

  function tell() {
    const number = picks().filter((one) => one.checked).length;
    const all = document.getElementById("pick-all");
    if (all) {
      all.checked = number > 0 && number === picks().length;
      all.indeterminate = number > 0 && number < picks().length;
    }
    const told = document.getElementById("selected");
    if (told) told.textContent = number ? `(${number} selected)` : "";
  }

  document.addEventListener("change", (event) => {
    if (event.target.id === "pick-all") {
      for (const one of picks()) one.checked = event.target.checked;
    }
    if (event.target.id === "pick-all" || event.target.name === "pick") tell();
  });
  // A browser that goes back may restore what was ticked.
  window.addEventListener("pageshow", tell);
})();
