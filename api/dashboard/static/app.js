// Keeps the page as the server draws it: the stream says that something changed, the same page is fetched again, and
// what differs is taken over in place, so that focus, dialogs and open details stay.

const main = document.getElementById("main");
const MARK = { "X-Zapvisor-Dashboard": "1" };
const POLL_WHILE_LIVE = 30;
const POLL_WITHOUT_STREAM = 4;
const PAUSE = 250;

// --- Calls ---

async function call(method, path, body) {
  const headers = { ...MARK };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const answer = await fetch(path, { method, headers, body: sent, credentials: "same-origin" });
  const text = await answer.text();
  const value = readJson(text);
  if (answer.status === 401) goToSignIn();
  if (!answer.ok) throw new Error(messageOf(value, answer));
  return value;
}

function readJson(text) {
  try { return JSON.parse(text); } catch { return null; }
}

function messageOf(value, answer) {
  const words = value?.response?.message;
  return Array.isArray(words) && words.length ? words.join(" ") : `The host answered ${answer.status}.`;
}

function goToSignIn() {
  const here = location.pathname + location.search;
  location.assign("/dashboard/sign-in?next=" + encodeURIComponent(here));
}

// --- Saying something ---

function announce(text) {
  document.getElementById("announce").textContent = text;
}

function toast(text, bad = false) {
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "✕";
  close.setAttribute("aria-label", "Dismiss");
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), bad ? 12000 : 5000);
}

// --- Time ---

let skew = 0;

function serverNow() {
  return Date.now() / 1000 + skew;
}

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600) % 24;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${minutes} min`;
  if (whole < 86400) return `${hours} h ${minutes} min`;
  return `${Math.floor(whole / 86400)} d ${hours} h`;
}

const MOMENT = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

const TIMES = {
  ago: (at) => `${span(serverNow() - at)} ago`,
  since: (at) => span(serverNow() - at),
  until: (at) => span(at - serverNow()),
  moment: (at) => MOMENT.format(at * 1000),
  tick: (at, element) => (element.dataset.span === "7d" ? DAY : CLOCK).format(at * 1000),
};

function tellTimes(root = document) {
  for (const [kind, words] of Object.entries(TIMES)) {
    for (const element of root.querySelectorAll(`time[data-${kind}]`)) {
      const text = words(Number(element.dataset[kind]), element);
      if (element.textContent !== text) element.textContent = text;
    }
  }
}

// --- Taking over what has changed ---

function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id ?? "") !== (fresh.id ?? "")) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep") && fresh.hasAttribute("data-keep")) return;
  if (old.isEqualNode(fresh)) return;
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
}

function morphAttributes(old, fresh) {
  const isOurs = (name) => (old.nodeName === "DETAILS" && name === "open") || name === "aria-busy" || (name === "disabled" && old.ariaBusy);
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !isOurs(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !isOurs(name)) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const known = next.id ? named.get(next.id) : null;
    if (known) {
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      morph(known, next);
    } else if (at && !at.id && !next.id && at.nodeName === next.nodeName) {
      const current = at;
      at = at.nextSibling;
      morph(current, next);
    } else {
      old.insertBefore(document.importNode(next, true), at);
    }
  }
  while (at) {
    const rest = at;
    at = at.nextSibling;
    rest.remove();
  }
}

// --- Staying up to date ---

let loading = false;
let wanted = false;
let leaving = false;
let failures = 0;
let timer = 0;

function refreshSoon(delay = 0) {
  wanted = true;
  clearTimeout(timer);
  timer = setTimeout(refresh, delay);
}

async function refresh() {
  if (loading || leaving || document.hidden) return;
  loading = true;
  wanted = false;
  try {
    const answer = await fetch(location.href, { headers: MARK, credentials: "same-origin", redirect: "error" });
    if (leaving) return;
    if (answer.status === 401) goToSignIn();
    else if (answer.status === 404 && main.dataset.name) location.assign("/");
    else if (answer.ok) takeOver(await answer.text());
    failures = answer.status < 500 ? 0 : failures + 1;
  } catch {
    failures += 1;
  } finally {
    loading = false;
    showLive();
    const period = pollPeriod() * 1000;
    clearTimeout(timer);
    timer = setTimeout(refresh, wanted ? PAUSE : period);
  }
}

function pollPeriod() {
  const own = Number(main.dataset.poll) || POLL_WHILE_LIVE;
  return isStreaming ? own : Math.min(own, POLL_WITHOUT_STREAM);
}

function takeOver(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const next = fresh.getElementById("main");
  if (!next) return;
  const before = { phase: main.dataset.phase, count: document.getElementById("code")?.dataset.count };
  document.title = fresh.title;
  skew = Number(next.dataset.now) - Date.now() / 1000;
  const parked = document.activeElement;
  tellTimes(next);
  morph(main, next);
  filterRows();
  if (parked && !parked.isConnected) main.focus({ preventScroll: true });
  tellPhase(before);
}

function tellPhase(before) {
  const { phase, name } = main.dataset;
  const stage = document.getElementById("stage");
  if (!name || !stage) return;
  if (phase !== before.phase) {
    stage.classList.toggle("arrived", phase === "open");
    announce(phase === "open" ? `${name} is connected.` : `${name}: ${stage.querySelector("h2").textContent}`);
    if (phase === "open" && ["pairing", "awaiting_scan"].includes(before.phase)) toast(`${name} is connected.`);
  } else if (phase === "awaiting_scan" && before.count && document.getElementById("code")?.dataset.count !== before.count) {
    announce("There is a new code.");
  }
}

let stream = null;
let isStreaming = false;

function openStream() {
  if (stream || document.hidden || !main?.dataset.stream) return;
  stream = new EventSource("/events?" + main.dataset.stream);
  stream.addEventListener("open", () => { isStreaming = true; showLive(); });
  stream.addEventListener("change", () => refreshSoon(loading ? PAUSE : 0));
  stream.addEventListener("error", () => {
    isStreaming = false;
    showLive();
    refreshSoon(PAUSE);
    if (stream.readyState === EventSource.CLOSED) {
      closeStream();
      setTimeout(openStream, POLL_WITHOUT_STREAM * 1000);
    }
  });
}

function closeStream() {
  stream?.close();
  stream = null;
  isStreaming = false;
}

const LIVE = { live: "Live", poll: "Updated every few seconds", down: "The host does not answer" };

function showLive() {
  const box = document.getElementById("live");
  if (!box) return;
  const state = failures > 0 ? "down" : isStreaming ? "live" : "poll";
  if (box.dataset.state === state) return;
  box.dataset.state = state;
  box.querySelector(".words").textContent = LIVE[state];
}

// A hidden page holds no connection: browsers allow a host only six.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) closeStream();
  else { openStream(); refreshSoon(); }
});
addEventListener("pagehide", closeStream);
addEventListener("pageshow", (event) => {
  if (event.persisted) { openStream(); refreshSoon(); }
});

// --- Acting ---

async function confirmed(order) {
  if (!order.confirm) return true;
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").textContent = order.confirm;
  document.getElementById("confirm-text").textContent = order.detail;
  const yes = document.getElementById("confirm-yes");
  yes.textContent = order.yes;
  yes.classList.toggle("danger", "danger" in order);
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

async function busy(button, work) {
  if (button.ariaBusy === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    toast(error.message || "The host does not answer.", true);
  } finally {
    button.removeAttribute("aria-busy");
    refreshSoon();
  }
}

function restartOf(path) {
  return {
    call: "POST /supervisor/restart",
    body: JSON.stringify({ path }),
    confirm: `Restart ${path}?`,
    detail: "It is ended, and its supervisor starts it again, with what depends on it.",
    yes: "Restart",
    done: `${path} was restarted.`,
  };
}

async function act(button, order = button.dataset) {
  const { call: what, body, done, doneCount, then } = order;
  if (!(await confirmed(order))) return;
  await busy(button, async () => {
    const [method, path] = what.split(" ");
    leaving = Boolean(then); // what this page shows may be gone before the answer
    const value = await call(method, path, body && JSON.parse(body)).catch((error) => { leaving = false; throw error; });
    if (then) location.assign(then);
    else if (done) toast(doneCount ? `${value[doneCount]} ${done}` : done);
  });
}

async function load(button) {
  const place = document.getElementById(button.dataset.into);
  await busy(button, async () => {
    const answer = await fetch(button.dataset.load, { headers: MARK, credentials: "same-origin" });
    const text = await answer.text();
    if (answer.status === 401) goToSignIn();
    if (!answer.ok) throw new Error(messageOf(readJson(text), answer));
    const fresh = new DOMParser().parseFromString(text, "text/html");
    place.replaceChildren(...document.importNode(fresh.body, true).childNodes);
  });
}

async function showToken(button) {
  await busy(button, async () => {
    const [row] = await call("GET", "/instance/fetchInstances?instanceName=" + encodeURIComponent(button.dataset.token));
    const token = document.createElement("code");
    token.textContent = row.token;
    token.tabIndex = -1;
    button.replaceWith(token);
    token.focus();
  });
}

function digits(value) {
  return value.replace(/[^0-9]/g, "");
}

async function create(form) {
  const problem = form.querySelector(".problem");
  const name = form.elements.instanceName.value.trim();
  const number = digits(form.elements.number.value);
  const body = { instanceName: name, integration: "WHATSAPP-BAILEYS", ...(number && { number }) };
  problem.hidden = true;
  try {
    await call("POST", "/instance/create", body);
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    form.elements.instanceName.focus();
    return;
  }
  // Its answer takes as long as the first code; the instance's page shows that, too.
  const path = encodeURIComponent(name);
  const sent = number ? JSON.stringify({ number }) : undefined;
  const headers = sent ? { ...MARK, "Content-Type": "application/json" } : MARK;
  fetch(`/instance/connect/${path}`, { method: "POST", headers, body: sent, keepalive: true }).catch(() => {});
  location.assign(`/dashboard/instances/${path}`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.call) act(button);
  else if (button.dataset.restart) act(button, restartOf(button.dataset.restart));
  else if (button.dataset.load) load(button);
  else if (button.dataset.token) showToken(button);
  else if (button.dataset.open) document.getElementById(button.dataset.open).showModal();
  else if ("close" in button.dataset) button.closest("dialog").close();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const button = form.querySelector("[type=submit]");
  if ("create" in form.dataset) {
    event.preventDefault();
    busy(button, () => create(form));
  } else if (form.dataset.connect) {
    event.preventDefault();
    busy(button, async () => { await call("POST", form.dataset.connect, { number: digits(form.elements.number.value) }); });
  }
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form) form.requestSubmit();
});

function filterRows() {
  const field = document.querySelector("[data-search]");
  if (!field) return;
  const words = field.value.trim().toLowerCase();
  let seen = 0;
  for (const row of document.querySelectorAll(field.dataset.search)) {
    row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
    seen += row.hidden ? 0 : 1;
  }
  document.getElementById("no-match").classList.toggle("shown", seen === 0);
}

document.addEventListener("input", (event) => {
  if (event.target.dataset.search) filterRows();
});

// --- Begin ---

if (main?.dataset.now) {
  skew = Number(main.dataset.now) - Date.now() / 1000;
  tellTimes();
  setInterval(() => { if (!document.hidden) tellTimes(); }, 1000);
  openStream();
  timer = setTimeout(refresh, POLL_WITHOUT_STREAM * 1000);
}
