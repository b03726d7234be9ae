// One command and its answer as elements: a bubble in the conversation, a thumbnail in the history.

import { el } from "./dom.js";
import { paint } from "./masks.js";

const WORK = {
  queued: "waiting", encode: "looking at the image", generate: "answering", read: "reading",
  decode: "making masks", see: "seeing", refine: "sharpening masks",
};

// actions: show(entry), hover(entry, index), cancel(id).
export function bubble(entry, actions) {
  const { question, progress, answer, failed } = entry;
  const node = el("article", { class: "turn", "data-id": question.id },
    el("p", { class: "asked", text: question.command || "(nothing)" }));
  if (failed) node.append(refusal("No answer", failed.text));
  else if (answer) node.append(reply(entry, actions));
  else node.append(waiting(question, progress, actions));
  return node;
}

function waiting(question, progress, actions) {
  const stage = progress ? progress.stage : "queued";
  const seconds = progress && progress.elapsed_s > 1 ? `, ${progress.elapsed_s.toFixed(0)} s` : "";
  return el("div", { class: "answered busy" },
    el("p", { class: "words streaming", text: progress ? progress.text : "" }),
    el("div", { class: "doing" },
      el("i", { class: "spinner" }),
      el("span", { text: `${WORK[stage] || stage}${seconds}` }),
      el("span", { class: "space" }),
      el("button", {
        type: "button", class: "cancel", text: "Cancel", onclick: () => actions.cancel(question.id),
      })));
}

function reply(entry, actions) {
  const { answer } = entry;
  if (answer.error !== "OK") return refusal(answer.error, answer.error_text);
  const node = el("div", { class: "answered" }, words(entry, actions));
  if (answer.objects.length) node.append(chips(entry, actions));
  node.append(times(answer));
  if (answer.target_text) node.append(el("p", { class: "quiet note", text: answer.target_text }));
  return node;
}

function refusal(code, text) {
  return el("div", { class: "answered refused" },
    el("code", { text: code }), el("p", { text }));
}

// The answer's text; what it names has the colour of its mask.
function words(entry, actions) {
  const { text, objects } = entry.answer;
  const letters = [...text]; // spans count characters, JavaScript's indices do not
  const spans = new Map();
  objects.forEach((object, index) => {
    const [start, end] = object.span;
    if (end > start && !spans.has(start)) spans.set(start, { end, index, object });
  });
  const node = el("p", { class: "words" });
  let at = 0;
  for (const start of [...spans.keys()].sort((a, b) => a - b)) {
    const { end, index, object } = spans.get(start);
    if (start < at) continue;
    node.append(letters.slice(at, start).join(""));
    const mark = el("mark", {
      class: object.is_present ? "" : "absent",
      "--color": object.color,
      text: letters.slice(start, end).join(""),
      tabindex: 0,
    });
    node.append(pointing(mark, entry, index, actions));
    at = end;
  }
  node.append(letters.slice(at).join(""));
  return node;
}

function chips(entry, actions) {
  return el("div", { class: "chips" }, ...entry.answer.objects.map((object, index) => {
    const state = !object.is_present ? "not seen" : object.is_ambiguous ? "which one?" : "";
    const chip = el("button", {
      type: "button",
      class: object.is_present ? "chip" : "chip absent",
      "--color": object.color,
      "--score": `${Math.round(100 * object.score)}%`,
      title: `score ${object.score.toFixed(3)}, ${object.area_px} pixels`,
    },
    el("i"), el("span", { text: object.phrase }),
    el("b", { text: object.score.toFixed(2) }),
    state ? el("em", { text: state }) : null,
    object.target ? el("small", { text: place(object.target) }) : null);
    return pointing(chip, entry, index, actions);
  }));
}

function place(target) {
  const [x, y, z] = target.box_center_m.map((v) => v.toFixed(3));
  const size = target.box_size_m.map((v) => Math.round(100 * v)).join(" × ");
  return `at ${x}, ${y}, ${z} m · ${size} cm`;
}

// Words and chips answer the pointer, the keyboard's focus and a tap alike.
function pointing(node, entry, index, actions) {
  node.dataset.index = index;
  node.addEventListener("pointerenter", () => actions.hover(entry, index));
  node.addEventListener("pointerleave", () => actions.hover(entry, null));
  node.addEventListener("focus", () => actions.hover(entry, index));
  node.addEventListener("blur", () => actions.hover(entry, null));
  node.addEventListener("click", () => actions.hover(entry, index));
  return node;
}

function times(answer) {
  const total = answer.stages.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  const bar = el("div", { class: "times-bar", "aria-hidden": true },
    ...answer.stages.map(([name, ms]) => el("i", {
      class: `stage-${name}`, "--share": `${(100 * ms) / total}%`, title: `${name} ${ms} ms`,
    })));
  const wait = answer.wait_ms >= 1 ? [["waited", answer.wait_ms]] : [];
  const legend = el("div", { class: "times-legend" },
    ...[...answer.stages, ...wait].map(([name, ms]) => el("span", {},
      el("i", { class: `stage-${name}` }), `${name} ${Math.round(ms)} ms`)));
  return el("details", { class: "times" },
    el("summary", {}, bar, el("span", { text: `${Math.round(answer.total_ms)} ms` })), legend);
}

// A thumbnail for the history, with the masks in their colours.
export function thumbnail(entry, onClick) {
  const { question, answer } = entry;
  const masks = el("canvas");
  paint(masks, answer);
  return el("button", {
    type: "button", class: "thumb", title: question.command, "data-id": question.id, onclick: onClick,
  },
  el("span", { class: "thumb-picture", "--ratio": answer.size[0] / answer.size[1] },
    answer.thumb ? el("img", { src: `/picture/${answer.thumb}`, alt: "", loading: "lazy" }) : null,
    masks),
  el("span", { class: "thumb-text", text: question.command }));
}
