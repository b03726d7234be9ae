// The page's story: events come from the link, become entries, and are shown.

import { bubble, thumbnail } from "./chat.js";
import { byId, el } from "./dom.js";
import { Link } from "./link.js";
import { unpack } from "./masks.js";
import { Viewer } from "./viewer.js";

const EXAMPLES = ["What do you see?", "What can I drink from?", "Pick up the red mug"];

const entries = new Map(); // by the command's id, oldest first
let shown = null; // the entry in the viewer; null = live
let isReplaying = true; // the history comes first, then "ready"
let waitsForPicture = false;

const viewer = new Viewer({
  onHover: (index) => shown && hover(shown, index),
  onLive: () => show(null),
});
const actions = {
  show,
  hover: (entry, index) => {
    if (index !== null && entry !== shown) show(entry);
    if (entry === shown) hover(entry, index);
  },
  cancel: (id) => link.send({ type: "cancel", id }),
};
const link = new Link({
  onEvent: (event) => handlers[event.type]?.(event),
  onPicture: async (jpeg, rateHz) => {
    await viewer.live(jpeg, rateHz).catch((error) => console.warn("live picture:", error));
    waitsForPicture = false;
    askForPicture();
  },
  onState: (isOpen, reason) => {
    document.body.classList.toggle("offline", !isOpen);
    if (isOpen) {
      isReplaying = true;
      waitsForPicture = false;
    } else {
      banner(reason ? `Disconnected: ${reason}` : "Connection lost. Trying again.");
    }
  },
});

const handlers = {
  ready() {
    isReplaying = false;
    askForPicture();
    scrollDown();
  },
  question(event) {
    const entry = entries.get(event.id) || {};
    entries.set(event.id, { ...entry, question: event });
    refresh(event.id);
    scrollDown();
  },
  progress: (event) => update(event, "progress"),
  failed: (event) => update(event, "failed"),
  answer(event) {
    const size = event.size[0] * event.size[1];
    for (const object of event.objects) object.mask = size ? unpack(object.runs, size) : null;
    const isNew = !entries.get(event.id)?.answer;
    update(event, "answer");
    const entry = entries.get(event.id);
    if (!entry || !isNew) return;
    if (event.size[0]) addThumbnail(entry);
    if (!isReplaying && event.size[0]) show(entry);
  },
  heat: (event) => attach(event, "heat"),
  points: (event) => attach(event, "points"),
  scene: (event) => attach(event, "scene"),
  health(event) {
    byId("health").className = `pill ${event.is_well ? "well" : event.state ? "unwell" : "gone"}`;
    byId("health").lastElementChild.textContent = event.state || "no node";
    byId("model").textContent = event.model;
    banner(event.is_well ? "" : event.message);
    if (!event.image_rate_hz) viewer.silent();
    byId("nothing").textContent = `No image on ${event.image_topic} yet`;
  },
  refused: (event) => notice(event.text),
  forgotten(event) {
    const kept = new Set(event.kept);
    for (const id of [...entries.keys()]) {
      if (kept.has(id)) continue;
      entries.delete(id);
      document.querySelectorAll(`[data-id="${id}"]`).forEach((node) => node.remove());
    }
    if (shown && !entries.has(shown.question.id)) show(null);
    tidy();
  },
};

function update(event, kind) {
  const entry = entries.get(event.id);
  if (!entry) return;
  entry[kind] = event;
  refresh(event.id);
}

function attach(event, kind) {
  const entry = entries.get(event.id);
  if (!entry?.answer) return;
  entry[kind] = event;
  viewer.refresh(entry);
}

// Makes the entry's bubble anew, in its place.
function refresh(id) {
  const isAtEnd = byId("log").scrollHeight - byId("log").scrollTop - byId("log").clientHeight < 80;
  const node = bubble(entries.get(id), actions);
  node.addEventListener("click", () => entries.get(id).answer?.size[0] && show(entries.get(id)));
  const old = byId("log").querySelector(`[data-id="${id}"]`);
  if (old) old.replaceWith(node);
  else byId("log").append(node);
  node.classList.toggle("shown", shown?.question.id === id);
  tidy();
  if (isAtEnd) scrollDown();
}

function tidy() {
  byId("welcome").hidden = entries.size > 0;
  byId("forget").hidden = entries.size === 0;
}

function addThumbnail(entry) {
  const id = entry.question.id;
  byId("strip").querySelector(`[data-id="${id}"]`)?.remove();
  byId("mini").after(thumbnail(entry, () => {
    show(entry);
    byId("log").querySelector(`[data-id="${id}"]`)?.scrollIntoView({ block: "nearest" });
  }));
}

function show(entry) {
  if (shown === entry) return;
  shown = entry;
  if (entry) viewer.show(entry);
  else viewer.showLive();
  for (const node of document.querySelectorAll(".turn, .thumb")) {
    node.classList.toggle("shown", (node.dataset.id || null) === (entry?.question.id ?? null));
  }
}

function hover(entry, index) {
  viewer.highlight(index);
  const turn = byId("log").querySelector(`[data-id="${entry.question.id}"]`);
  for (const node of turn?.querySelectorAll("[data-index]") || []) {
    node.classList.toggle("hovered", Number(node.dataset.index) === index);
  }
}

function askForPicture() {
  if (waitsForPicture || isReplaying || document.hidden) return;
  waitsForPicture = link.send({ type: "picture" });
}

// To the end; where the last answer is taller than the space for it, to its question.
function scrollDown() {
  const log = byId("log");
  log.scrollTop = log.scrollHeight;
  const last = log.lastElementChild;
  if (last.offsetHeight > log.clientHeight) last.scrollIntoView({ block: "start" });
}

function banner(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

// The composer.

const field = byId("command");

function ask(command) {
  notice("");
  const follows = byId("follows").getAttribute("aria-pressed") === "true";
  const isSent = link.send({ type: "ask", command, intent: byId("intent").value, follows });
  if (!isSent) notice("Not connected.");
  return isSent;
}

function grow() {
  byId("send").disabled = !field.value.trim();
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, 140)}px`;
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (field.value.trim() && ask(field.value.trim())) {
    field.value = "";
    grow();
  }
});
field.addEventListener("input", grow);
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("composer").requestSubmit();
  }
});
byId("follows").addEventListener("click", (event) => {
  const button = event.currentTarget;
  button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
});
byId("forget").addEventListener("click", () => link.send({ type: "forget" }));
document.addEventListener("visibilitychange", askForPicture);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const busy = [...entries.values()].filter((entry) => !entry.answer && !entry.failed);
  if (busy.length) actions.cancel(busy[busy.length - 1].question.id);
  else show(null);
});
byId("examples").append(...EXAMPLES.map((text) => el("button", {
  type: "button", class: "example", text, onclick: () => ask(text),
})));
