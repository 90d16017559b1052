// The page's words and numbers, renewed by server-sent events. Text goes in as textContent only; nothing is sent back.

import { bar, columns } from "/page/charts.js";

const $ = (id) => document.getElementById(id);
const LEVELS = { running: "good", degraded: "warn", "camera-down": "bad", starting: "wait", stopping: "wait" };
const WINDOWS = { // how many bins make a row of numbers, and how far the chart goes back
  minute: { group: 5, back: "60 s ago", of: "the last minute" },
  hour: { group: 5, back: "60 min ago", of: "the last hour" },
  day: { group: 4, back: "24 h ago", of: "the last day" },
};
const ANNOUNCE_EVERY = 10000; // ms: faces change faster than anybody can listen

let shares = null;
let modelLabels = [];
let chosen = "minute";
let announced = { text: "", at: 0 };
let picture = 0;

/** Have exactly `count` children, made by `make` and kept from look to look, so that nothing flickers or loses focus. */
function children(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) {
    const made = make();
    parent.append(made);
  }
  return [...parent.children];
}

function element(name, { className = "", scope, text } = {}) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (scope) made.scope = scope;
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const percent = (share) => `${Math.round(100 * share)} %`;
const decimals = (value, places) => (typeof value === "number" ? value.toFixed(places) : "–");
const words = (name) => String(name).replaceAll("_", " ");

function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function announce(text, atOnce) {
  const now = Date.now();
  if (text === announced.text || (!atOnce && now - announced.at < ANNOUNCE_EVERY)) return;
  announced = { text, at: now };
  $("announcement").textContent = text;
}

function showHealth(level, text) {
  const before = $("health-text").textContent;
  $("health").dataset.level = level;
  say($("health-text"), text);
  if (before !== text && !/\d/.test(text)) announce(text, true);
}

function showState(state) {
  const health = state.health ?? {};
  modelLabels = state.labels ?? modelLabels;
  if (!state.alive) {
    const age = typeof state.age_seconds === "number" ? ` for ${duration(state.age_seconds)}` : "";
    showHealth("bad", age ? `No word from the stream${age}` : "No stream is running");
  } else showHealth(LEVELS[health.state] ?? "wait", health.state === "camera-down" ? "Camera down" : capital(health.state));
  const troubles = state.alive ? Object.entries(health.troubles ?? {}) : [];
  $("troubles").hidden = troubles.length === 0;
  children($("troubles"), troubles.length, () => element("li"))
    .forEach((item, at) => say(item, `${capital(words(troubles[at][0]))}: ${troubles[at][1]}`));
  say($("source"), state.source ?? "");
  showFaces(state.alive ? state.faces ?? [] : [], state.labels ?? [], state.faces_seen ?? 0);
  showSpeed(state);
  showFacts(state);
  showDrift(state.drift);
  showPicture(state);
}

const capital = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "Unknown");

function faceCard() {
  const card = element("li");
  const title = element("h3");
  title.append(element("span"), element("span", { className: "muted" }));
  const table = element("table");
  table.append(element("caption", { className: "unseen" }), element("tbody"));
  card.append(title, table);
  return card;
}

function barRow() {
  const row = element("tr");
  const cell = element("td", { className: "bar" });
  const drawn = bar();
  cell.append(drawn.svg);
  row.show = drawn.show;
  row.append(element("th", { scope: "row" }), cell, element("td", { className: "number" }));
  return row;
}

function showFaces(faces, labels, seen) {
  $("nobody").hidden = faces.length > 0;
  children($("faces"), faces.length, faceCard).forEach((card, number) => {
    const face = faces[number];
    const [label, sure] = card.querySelectorAll("h3 span");
    say(label, capital(face.label));
    say(sure, percent(face.probability));
    say(card.querySelector("caption"), `Face ${number + 1}: probability of each expression`);
    children(card.querySelector("tbody"), labels.length, barRow).forEach((row, at) => {
      const share = face.probabilities?.[at] ?? 0;
      row.className = labels[at] === face.label ? "first" : "";
      say(row.firstElementChild, labels[at]);
      say(row.lastElementChild, percent(share));
      row.show(share);
    });
  });
  const others = Math.max(0, seen - faces.length);
  $("others").hidden = others === 0 || faces.length === 0;
  say($("others"), others === 1 ? "One more face." : `${others} more faces.`);
  const names = faces.map((face) => face.label).join(", ");
  announce(faces.length === 0 ? "No face" : `${faces.length === 1 ? "One face" : `${faces.length} faces`}: ${names}`);
}

function stageRow() {
  const row = barRow();
  row.append(element("td", { className: "number" }), element("td", { className: "number" }));
  return row;
}

function showSpeed(state) {
  say($("rate"), state.alive ? decimals(state.frames_per_second, 1) : "–");
  say($("age"), decimals(state.age?.p50, 0));
  say($("age-most"), decimals(state.age?.p95, 0));
  const stages = Object.entries(state.stages ?? {});
  const longest = Math.max(1e-9, ...stages.map(([, times]) => times.p95 ?? 0));
  children($("stages"), stages.length, stageRow).forEach((row, at) => {
    const [name, times] = stages[at];
    say(row.firstElementChild, name);
    row.show((times.p50 ?? 0) / longest, (times.p95 ?? 0) / longest);
    ["p50", "p95", "p99"].forEach((share, place) => say(row.children[2 + place], decimals(times[share], 1)));
  });
}

function facts(list, pairs) {
  children(list, 2 * pairs.length, () => element(list.children.length % 2 ? "dd" : "dt"))
    .forEach((node, at) => say(node, String(pairs[at >> 1][at % 2])));
}

function word(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toPrecision(3);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function showFacts(state) {
  const [counts, tally, engine] = [state.counts ?? {}, state.tally ?? {}, state.engine ?? {}];
  const faults = (chosen, known) => { // a page of zeros would hide the one that is none
    const found = Object.entries(counts).filter(([name, count]) => chosen(name) && !known.includes(name) && count);
    const shown = found.map(([name, count]) => [words(name.replace(/^camera_/, "")), word(count)]);
    return shown.length ? shown : [["faults counted", state.counts ? "none" : "–"]];
  };
  const down = state.health?.troubles?.camera;
  const isCamera = (name) => name.startsWith("camera_");
  facts($("camera-facts"), [
    ["delivers", !state.alive ? "–" : down ? `no: ${down}` : "yes"],
    ["frames", word(tally.frames)],
    ["with faces", word(tally.frames_with_faces)],
    ["dropped for newer ones", word(counts.camera_dropped)],
    ["turns without a frame", word(tally.idle)],
    ...faults(isCamera, ["camera_frames", "camera_dropped"]),
  ]);
  facts($("engine-facts"), [
    ...Object.entries(engine).map(([name, value]) => [words(name), name === "sha256" ? `${value}`.slice(0, 12) : word(value)]),
    ["running for", duration(state.uptime_seconds)],
    ["memory", state.memory_bytes ? `${Math.round(state.memory_bytes / 1048576)} MiB` : "–"],
    ["answers that were not finite", word(tally.not_finite)],
    ["events written", word(counts.events_written)],
    ...faults((name) => !isCamera(name), ["events_written"]),
  ]);
}

function showDrift(drift) {
  const on = Boolean(drift) && drift.state !== "off";
  const watched = on ? Object.entries(drift.quantities ?? {}) : [];
  $("no-drift").hidden = on;
  facts($("drift-facts"), !on ? [] : [
    ["state", drift.alarm || drift.why ? `${drift.state}: ${drift.alarm || drift.why}` : word(drift.state)],
    ["faces compared", word(drift.samples)],
    ["same label as FP32", typeof drift.agreement === "number" ? `${(100 * drift.agreement).toFixed(1)} %` : "–"],
    ["compared with", word(drift.compared_with)],
  ]);
  $("watched").hidden = watched.length === 0;
  children($("watched-rows"), watched.length, barRow).forEach((row, at) => {
    const [name, quantity] = watched[at];
    say(row.firstElementChild, words(name));
    row.show(quantity.evidence ?? 0);
    say(row.lastElementChild, quantity.alarming ? "alarm" : String(Math.round(100 * (quantity.evidence ?? 0))));
  });
}

function showPicture(state) {
  $("picture").hidden = !(state.preview && state.alive);
  if ($("picture").hidden) return;
  say($("preview-note"), state.preview_faces ? "Faces are shown." : "Blurred; found faces are a few blocks.");
  if (!$("preview").complete) return; // a slow viewer sees fewer pictures
  picture += 1;
  $("preview").src = `/preview.jpg?${picture}`; // a number that counts, so that the browser asks again
}

function showShares() {
  if (!shares) return;
  const window = shares.windows[chosen];
  const bins = Object.values(window.labels)[0]?.length ?? 0;
  const names = [...new Set([...modelLabels, ...Object.keys(window.labels)])]; // rows never move
  const labels = names.map((label) => [label, window.labels[label] ?? new Array(bins).fill(0)]);
  const totals = (labels[0]?.[1] ?? []).map((_, at) => labels.reduce((sum, [, counts]) => sum + counts[at], 0));
  const all = totals.reduce((sum, count) => sum + count, 0);
  say($("shares-caption"), all ? `${all.toLocaleString("en")} ${shares.of} in ${WINDOWS[chosen].of}`
    : `Nothing was counted in ${WINDOWS[chosen].of}`);
  say($("shares-back"), WINDOWS[chosen].back);
  children($("shares-rows"), labels.length, () => {
    const row = element("tr");
    const cell = element("td");
    const drawn = columns();
    cell.append(drawn.svg);
    row.show = drawn.show;
    row.append(element("th", { scope: "row" }), cell, element("td", { className: "number" }));
    return row;
  }).forEach((row, at) => {
    const [label, counts] = labels[at];
    say(row.firstElementChild, label);
    say(row.lastElementChild, all ? percent(counts.reduce((sum, count) => sum + count, 0) / all) : "–");
    row.show(counts.map((count, bin) => (totals[bin] ? count / totals[bin] : null)));
  });
  showBins(labels, totals, window.seconds);
}

function showBins(labels, totals, seconds) {
  if (!$("bins").open) return;
  const group = WINDOWS[chosen].group;
  const rows = Math.floor(totals.length / group);
  const sum = (counts, row) => counts.slice(counts.length - (row + 1) * group, counts.length - row * group)
    .reduce((all, count) => all + count, 0);
  children($("bins-head"), labels.length + 2, () => element("th", { scope: "col" }))
    .forEach((cell, at) => say(cell, at === 0 ? "Until" : at === 1 ? "Counted" : labels[at - 2][0]));
  children($("bins-rows"), rows, () => element("tr")).forEach((row, number) => {
    const counted = sum(totals, number);
    children(row, labels.length + 2, () => element(row.children.length ? "td" : "th", row.children.length ? {} : { scope: "row" }))
      .forEach((cell, at) => {
        const share = () => (counted ? percent(sum(labels[at - 2][1], number) / counted) : "–");
        say(cell, at === 0 ? (number ? `${duration(number * group * seconds)} ago` : "now") : at === 1 ? String(counted) : share());
      });
  });
}

function showEvents(events) {
  $("no-events").hidden = events.length > 0;
  children($("events-rows"), events.length, () => {
    const row = element("tr");
    row.append(element("td"), element("td"), element("td"));
    return row;
  }).forEach((row, at) => {
    const event = events[at];
    const when = new Date(event.time);
    const said = Number.isNaN(when.getTime()) ? event.time : when.toLocaleString("en-GB", { dateStyle: "short", timeStyle: "medium" });
    [said, event.event, event.text].forEach((text, place) => say(row.children[place], text));
  });
}

function listen() {
  const source = new EventSource("/live");
  const told = (kind, show) => source.addEventListener(kind, (message) => show(JSON.parse(message.data)));
  told("state", showState);
  told("shares", (values) => { shares = values; showShares(); });
  told("events", showEvents);
  source.addEventListener("error", () => {
    showHealth("bad", "Connection lost, trying again");
    if (source.readyState !== EventSource.CLOSED) return;
    // refused: the session ended, or too many look; the page itself knows which
    setTimeout(() => location.reload(), 5000);
  });
}

document.querySelectorAll("input[name=window]").forEach((input) => input.addEventListener("change", () => {
  chosen = input.value;
  showShares();
}));
$("bins").addEventListener("toggle", showShares);
listen();
