"use strict";
// Comfort only: every page does its work without this.

// Copying, and a guard against leaving before what is shown once was taken.
const guarded = document.querySelector("[data-guard]");
if (guarded) {
  let taken = false;
  const said = document.getElementById("copied");
  for (const button of guarded.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.firstChild;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        taken = true;
        label.textContent = "Copied";
        said.textContent = "Copied to the clipboard";
        setTimeout(() => { label.textContent = "Copy"; }, 2000);
      } catch {
        getSelection().selectAllChildren(source);
        said.textContent = "Selected: copy it with your keyboard";
      }
    });
  }
  for (const source of guarded.querySelectorAll("code")) {
    source.addEventListener("copy", () => { taken = true; });
  }
  const stored = document.getElementById("stored");
  stored.addEventListener("change", () => { taken = taken || stored.checked; });
  addEventListener("beforeunload", (event) => { if (!taken) event.preventDefault(); });
  // What is shown once is not shown again by going back.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    taken = true;
    guarded.remove();
    location.reload();
  });
  // A reload shows what is there, and does not send the form again.
  history.replaceState(null, "", guarded.dataset.address);
  guarded.querySelector(".first .copy").focus();
}

// Where a session ends under a form, what was filled in comes back once its author has signed in again: in this tab, and
// nothing of it that is secret, or looks so.
const author = document.querySelector(".who bdi")?.textContent;
// Some browsers are told to keep nothing.
const store = (use) => {
  try { return use(sessionStorage) ?? null; } catch { return null; }
};
const SECRET = /pc[a-z]_|%[0-9a-f]{2}|:\/\/[^/\s]*@/i;
const keep = (form) => {
  const fields = [...form.elements].filter((field) => {
    const ticked = !["checkbox", "radio"].includes(field.type) || field.checked;
    const known = ["proof", "once", "intent", ""].includes(field.name) || ["password", "submit"].includes(field.type);
    return ticked && !known && !SECRET.test(field.value);
  });
  const filled = fields.map((field) => [field.name, field.value]);
  store((kept) => kept.setItem("draft", JSON.stringify({ author, action: form.getAttribute("action"), filled })));
};
const fill = (form, filled) => {
  for (const field of form.elements) {
    const values = filled.filter(([name]) => name === field.name).map(([, value]) => value);
    if (["checkbox", "radio"].includes(field.type)) field.checked = values.includes(field.value);
    else if (values.length > 0) field.value = values[0];
  }
  for (const folded of [form.closest("details"), ...form.querySelectorAll("details")]) if (folded) folded.open = true;
  const said = document.createElement("p");
  said.className = "notice";
  said.setAttribute("role", "status");
  said.textContent = "What you had filled in is back, but for what is secret. It was not sent yet.";
  form.before(said);
};
const draft = JSON.parse(store((kept) => kept.getItem("draft")));
if (draft && author === undefined) {
  draft.waits ||= document.querySelector("[data-waits]") !== null;
  store((kept) => kept.setItem("draft", JSON.stringify(draft)));
} else if (draft) {
  const form = [...document.forms].find((form) => form.getAttribute("action") === draft.action);
  const theirs = draft.waits && draft.author === author;
  if (theirs && form) fill(form, draft.filled);
  if (!theirs || form) store((kept) => kept.removeItem("draft"));
}

// What is wrong with a form is said where the reader is.
document.getElementById("faults")?.focus();

// A date that was chosen is meant.
for (const date of document.querySelectorAll("[data-ticks]")) {
  date.addEventListener("input", () => {
    const choice = document.getElementById(date.dataset.ticks);
    if ("checked" in choice) choice.checked = true;
    else choice.selected = true;
  });
}

// Puts a part of another page in the place of the same part of this one, unless something newer was asked for.
const put = async (form, selector, address, options, isLatest) => {
  const answer = await fetch(address, options);
  const isForm = options.method === "POST";
  // The session has ended: on to where that is told.
  if (answer.redirected) {
    if (isForm) keep(form);
    location.assign(isForm ? answer.url : address);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = page.querySelector(selector);
  if (!isLatest()) return;
  if (!part) {
    // What is filled in stays: what is wrong is told when it is sent.
    if (!isForm) location.assign(address);
    return;
  }
  document.querySelector(selector).replaceChildren(...part.childNodes);
};
// Acts once nothing more comes for a moment; `otherwise` where that fails.
const calmly = (otherwise, act) => {
  let waiting;
  let round = 0;
  return () => {
    clearTimeout(waiting);
    const mine = ++round;
    const isLatest = () => mine === round;
    waiting = setTimeout(() => act(isLatest).catch(() => { if (isLatest()) otherwise(); }), 250);
  };
};

// Filters that act while one types.
for (const form of document.querySelectorAll("[data-live]")) {
  form.addEventListener("input", calmly(() => form.submit(), async (isLatest) => {
    const filled = [...new FormData(form)].filter(([, value]) => value !== "");
    const address = form.getAttribute("action") + (filled.length ? "?" + new URLSearchParams(filled) : "");
    await put(form, form.dataset.live, address, {}, isLatest);
    if (!isLatest()) return;
    history.replaceState(null, "", address);
    const rows = document.querySelectorAll(form.dataset.live + " tbody tr").length;
    const more = document.querySelector(form.dataset.live + " [rel=next]") ? " on this page" : "";
    const found = document.getElementById("found");
    found.textContent = rows + " " + (rows === 1 ? found.dataset.one : found.dataset.many) + more;
  }));
}

// Scopes tried while one types, by the server's own rules.
for (const form of document.querySelectorAll("[data-try]")) {
  const untried = () => { document.querySelector(form.dataset.try).textContent = "Not tried: the server does not answer."; };
  const tried = calmly(untried, (isLatest) => {
    const body = new URLSearchParams(new FormData(form));
    body.set("intent", "try");
    return put(form, form.dataset.try, form.getAttribute("action"), { method: "POST", body }, isLatest);
  });
  form.addEventListener("input", (event) => {
    const field = event.target.name;
    if (["scopes", "try_method", "try_path"].includes(field) && form.elements.try_path.value !== "") tried();
  });
  // Enter there tries, and makes no token.
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !["try_method", "try_path"].includes(event.target.name)) return;
    event.preventDefault();
    tried();
  });
}

// A form is sent once, however often its button is pressed.
addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  if (author !== undefined) keep(form);
  // Whoever stopped it may send it again.
  setTimeout(() => { delete form.dataset.sent; }, 5000);
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
// Nor does what was typed in secret wait behind the page that follows.
addEventListener("pagehide", () => {
  for (const field of document.querySelectorAll("input[type=password]")) field.value = "";
});
