"use strict";
// Texts are only ever set as text. Nothing here makes markup out of data.
const $ = (id) => document.getElementById(id);
const make = (tag, kind, text) => {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
};
const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const mark = (element, name, value) => { if (element.dataset[name] !== value) element.dataset[name] = value; };
const isolated = (text, kind) => make("bdi", kind, text);

// Words for figures.
const whole = new Intl.NumberFormat("en");
const count = (number) => (number < 1e5 ? whole.format(number) : new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(number));
const some = (number) => (number >= 100 ? whole.format(Math.round(number)) : number.toFixed(number >= 10 || number === 0 ? 0 : 1));
const percent = (share) => {
  if (share === null || share === undefined) return "–";
  const of100 = share * 100;
  if (of100 > 99 && of100 < 100) return String(Math.floor(of100 * 100) / 100);
  return of100 === 0 || of100 >= 10 ? String(Math.round(of100 * 10) / 10) : of100.toFixed(1);
};
const latency = (ms) => {
  if (ms === null || ms === undefined) return ["–", "ms"];
  if (ms >= 10000) return [(ms / 1000).toFixed(1), "s"];
  if (ms >= 1000) return [(ms / 1000).toFixed(2), "s"];
  return [ms >= 10 ? String(Math.round(ms)) : ms.toFixed(1), "ms"];
};
const time = (ms) => latency(ms).join(" ");
const span = (ms) => {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};
const ago = (ms) => (ms < 1500 ? "now" : ms < 60000 ? `${Math.floor(ms / 1000)} s ago` : ms < 3600000 ? `${Math.floor(ms / 60000)} min ago` : `${span(ms)} ago`);
const bytes = (number) => (number < 1024 ? `${number} B` : number < 1048576 ? `${(number / 1024).toFixed(0)} KiB` : `${(number / 1048576).toFixed(1)} MiB`);
const STATES = {
  closed: ["Closed", "calls pass", "good"],
  open: ["Open", "calls refused", "bad"],
  half_open: ["Half-open", "probing", "warn"],
  forced_open: ["Forced open", "calls refused until reset", "held"],
  disabled: ["Forced closed", "calls pass, nothing counted", "held"],
  metrics_only: ["Metrics only", "calls pass", "off"],
};
const state = (name) => STATES[name] || [String(name), "", "off"];
const KINDS = {
  circuit_open: "circuit open", rate_limited: "rate limited", no_endpoint: "no endpoint", idempotency_key: "no idempotency key", connect: "no connection", busy: "no connection free", closed: "client shut down", transport: "connection lost",
  body_too_large: "answer too large", invalid_request: "invalid request", timeout: "timeout", _OTHER: "other error",
};

// Drawing.
const SVG = "http://www.w3.org/2000/svg";
const shape = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const path = (points, closeAt) => {
  let text = "", pen = false, first = null, last = null;
  const close = () => { if (closeAt !== undefined && first !== null) text += `L${last} ${closeAt}L${first} ${closeAt}Z`; first = null; };
  for (const [x, y] of points) {
    if (y === null) { close(); pen = false; continue; }
    const at = x.toFixed(1);
    text += `${pen ? "L" : "M"}${at} ${y.toFixed(1)}`;
    if (first === null) first = at;
    last = at;
    pen = true;
  }
  close();
  return text;
};
const spark = (host, values, kind, most) => {
  const width = 100, height = 40, top = Math.max(most || 0, ...values.map((value) => value || 0)) || 1;
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((value, index) => [index * step, value === null ? null : height - 1 - (value / top) * (height - 6)]);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(
    shape("path", { d: path(points, height), class: `area ${kind}` }),
    shape("path", { d: path(points), class: `line ${kind}`, "vector-effect": "non-scaling-stroke" }),
  );
  host.replaceChildren(svg);
};

const seen = { data: null, points: [], controls: false, at: 0, offset: 0 };
const windowOf = () => {
  const end = seen.data.second;
  const length = Math.min(300, Math.max(30, end));
  return { first: end - length, length };
};
const nice = (value) => {
  const base = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  for (const step of [1, 2, 4, 5, 10]) if (step * base >= value) return step * base;
  return value;
};

class Chart {
  constructor(host, legend, series, scale, label) {
    Object.assign(this, { host, legend, series, scale, label, cross: null });
    host.tabIndex = 0;
    host.setAttribute("role", "img");
    this.entries = series.map(([name, , kind]) => {
      const item = make("li", kind), value = make("b");
      item.append(`${name} `, value);
      legend.append(item);
      return value;
    });
    host.addEventListener("pointermove", (event) => this.pick(event.clientX - host.getBoundingClientRect().left));
    host.addEventListener("pointerleave", () => { this.cross = null; this.draw(); });
    host.addEventListener("blur", () => { this.cross = null; this.draw(); });
    host.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !seen.data) return;
      event.preventDefault();
      const { first, length } = windowOf();
      const from = this.cross === null ? first + length - 1 : this.cross;
      this.cross = Math.min(Math.max(from + step, first), first + length - 1);
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(host);
  }
  pick(x) {
    if (!seen.data || !this.box) return;
    const { left, right, first, length } = this.box;
    this.cross = Math.round(first + Math.min(Math.max((x - left) / (right - left), 0), 1) * (length - 1));
    this.draw();
  }
  draw() {
    if (!seen.data) return;
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width) return;
    const { first, length } = windowOf(), points = seen.points.filter((point) => point.second >= first);
    const left = 44, right = width - 6, top = 8, bottom = height - 22;
    this.box = { left, right, first, length };
    const x = (second) => left + ((second - first) / (length - 1)) * (right - left);
    const { y, ticks } = this.scale(points, top, bottom);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const lines = this.series.map(([, read]) => points.map((point) => [x(point.second), read(point) === null ? null : y(read(point))]));
    this.series.forEach(([, , kind, filled], index) => {
      if (!filled) return;
      const d = path(lines[index], bottom);
      svg.append(shape("path", { d, class: "cover" }), shape("path", { d, class: `area ${kind} ${filled}` }));
    });
    for (const [value, text] of ticks) {
      svg.append(shape("line", { x1: left, x2: right, y1: Math.round(y(value)), y2: Math.round(y(value)), class: "grid" }));
      const tick = shape("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end", class: "tick" });
      tick.textContent = text;
      svg.append(tick);
    }
    const marks = length > 150 ? 60 : length > 70 ? 30 : length > 40 ? 15 : 10;
    for (let back = 0; back < length - marks / 3; back += marks) {
      const end = back === 0;
      const tick = shape("text", { x: x(first + length - 1 - back), y: height - 4, "text-anchor": end ? "end" : "middle", class: "tick" });
      tick.textContent = end ? "now" : back % 60 ? `−${back} s` : `−${back / 60} min`;
      svg.append(tick);
    }
    this.series.forEach(([, , kind], index) => svg.append(shape("path", { d: path(lines[index]), class: `line ${kind}` })));
    const chosen = this.cross === null ? null : points.find((point) => point.second === this.cross);
    if (chosen) {
      svg.append(shape("line", { x1: x(chosen.second), x2: x(chosen.second), y1: top, y2: bottom, class: "cross" }));
      for (const [, read, kind] of this.series) {
        if (read(chosen) !== null) svg.append(shape("circle", { cx: x(chosen.second), cy: y(read(chosen)), r: 3.5, class: `dot ${kind}` }));
      }
    }
    this.host.replaceChildren(svg);
    const shown = chosen || points[points.length - 1];
    const texts = this.series.map(([, , , , words], index) => {
      const text = shown ? words(shown) : "–";
      say(this.entries[index], text);
      return `${this.series[index][0]} ${text}`;
    });
    const when = chosen ? `${first + length - 1 - chosen.second} s before now` : "now";
    this.host.setAttribute("aria-label", `${this.label}, ${when}: ${texts.join(", ")}. Arrow keys move along.`);
  }
}
const linear = (points, top, bottom) => {
  const most = nice(Math.max(1, ...points.map((point) => point.ok + point.failed)));
  const y = (value) => bottom - (value / most) * (bottom - top);
  const half = most / 2;
  return { y, ticks: (most === 1 ? [0, 1] : [0, half, most]).map((value) => [value, count(value)]) };
};
const logarithmic = (points, top, bottom) => {
  const values = points.flatMap((point) => [point.p50, point.p90, point.p99]).filter((value) => value !== null);
  const low = Math.floor(Math.log10(Math.max(0.1, Math.min(1, ...values))));
  const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(10, ...values))));
  const y = (value) => bottom - ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (bottom - top);
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push([10 ** power, power >= 3 ? `${10 ** (power - 3)} s` : `${10 ** power} ms`]);
  return { y, ticks };
};
const charts = [
  new Chart($("calls-chart"), $("calls-legend"), [
    ["Failed", (point) => point.ok + point.failed, "f-bad", "solid", (point) => count(point.failed)],
    ["Answered", (point) => point.ok, "f-ok", "soft", (point) => count(point.ok)],
  ], linear, "Calls per second"),
  new Chart($("time-chart"), $("time-legend"), [
    ["p50", (point) => point.p50, "f-ok", "", (point) => time(point.p50)],
    ["p90", (point) => point.p90, "f-again", "", (point) => time(point.p90)],
    ["p99", (point) => point.p99, "f-held", "", (point) => time(point.p99)],
  ], logarithmic, "Latency"),
];

// Lists whose elements stay while their keys do, so that focus and selection survive a frame.
const keyed = (host, items, key, create, update) => {
  const known = host.keyed || (host.keyed = new Map());
  const wanted = new Set(items.map(key));
  for (const [name, element] of known) if (!wanted.has(name)) { element.remove(); known.delete(name); }
  items.forEach((item, index) => {
    let element = known.get(key(item));
    if (!element) { element = create(item); known.set(key(item), element); }
    if (host.children[index] !== element) host.insertBefore(element, host.children[index] || null);
    if (update) update(element, item);
  });
};
const figures = (names, kind) => {
  const list = make("dl", kind || "figures"), values = names.map((name) => {
    const group = make("div"), value = make("dd", "", "–");
    group.append(make("dt", "", name), value);
    list.append(group);
    return value;
  });
  return [list, values];
};

// Endpoints.
const RING = 2 * Math.PI * 20;
const makeEndpoint = (item) => {
  const card = make("article", "panel card endpoint"), head = make("div", "card-head"), name = make("div", "card-name");
  const ring = make("div", "ring"), svg = shape("svg", { viewBox: "0 0 46 46", "aria-hidden": "true" });
  const left = shape("circle", { cx: 23, cy: 23, r: 20, class: "ring-left", "stroke-dasharray": RING, transform: "rotate(-90 23 23)" });
  svg.append(shape("circle", { cx: 23, cy: 23, r: 20 }), left);
  const part = { left, ring, seconds: make("b"), badge: make("span", "badge"), words: make("span"), trend: make("div", "trend"), strip: make("div", "strip") };
  ring.append(svg, part.seconds);
  const title = isolated(item.name);
  title.title = item.name;
  const line = make("p", "card-state");
  line.append(part.badge, part.words);
  name.append(title, line);
  head.append(name, ring);
  const [list, values] = figures(["Attempts/s", "Failed", "In flight", "Total"]);
  part.values = values;
  const history = make("div"), note = make("p", "strip-note");
  part.old = make("span"); part.cause = make("span");
  note.append(part.old, part.cause, make("span", "", "now"));
  history.append(part.strip, note);
  const past = make("div", "past");
  past.append(make("p", "caption", "Attempts of the last minute, failed ones in red"), part.trend);
  card.append(head, list, past, history);
  card.setAttribute("aria-label", `Endpoint ${item.name}`);
  card.bits = part;
  part.strip.setAttribute("role", "img");
  if (seen.controls && item.breaker) card.append(makeControls(item.name));
  return card;
};
const makeControls = (name) => {
  const row = make("div", "controls"), trouble = make("p");
  trouble.setAttribute("role", "alert");
  for (const [action, text] of [["force_open", "Force open"], ["force_closed", "Force closed"], ["automatic", "Automatic"]]) {
    const button = make("button", "ghost", text);
    button.type = "button";
    const disarm = () => { delete button.dataset.armed; say(button, text); };
    button.addEventListener("blur", disarm);
    button.addEventListener("click", async () => {
      if (action !== "automatic" && !("armed" in button.dataset)) {
        button.dataset.armed = "";
        say(button, "Sure? Press again");
        setTimeout(disarm, 4000);
        return;
      }
      disarm();
      say(trouble, "");
      try {
        const answer = await fetch(`${base}/breakers`, {
          method: "POST", headers: { "content-type": "application/json", "x-nudj-dashboard": "control" }, body: JSON.stringify({ endpoint: name, action }),
        });
        if (!answer.ok) say(trouble, `Not done: ${await answer.text()}`);
      } catch { say(trouble, "Not done: the server cannot be reached"); }
    });
    row.append(button);
  }
  row.append(trouble);
  return row;
};
const strip = (part, breaker, uptime) => {
  const length = Math.min(300000, Math.max(60000, uptime));
  const changes = breaker.history.filter((change) => change.age_ms < length);
  const earlier = breaker.history.filter((change) => change.age_ms >= length).pop();
  const spans = [];
  let name = changes.length ? changes[0].from : earlier ? earlier.to : breaker.state, from = length;
  for (const change of changes) { spans.push([name, from - change.age_ms]); name = change.to; from = change.age_ms; }
  spans.push([name, from]);
  const texts = [];
  part.strip.replaceChildren(...spans.map(([of, ms]) => {
    const piece = make("i");
    piece.dataset.tone = state(of)[2];
    piece.style.width = `${(ms / length) * 100}%`;
    piece.title = `${state(of)[0]} for ${span(ms)}`;
    texts.push(piece.title);
    return piece;
  }));
  part.strip.setAttribute("aria-label", `States so far: ${texts.slice(-8).join(", then ")}`);
  say(part.old, length >= 120000 ? `${Math.round(length / 60000)} min ago` : `${Math.round(length / 1000)} s ago`);
  const last = breaker.history[breaker.history.length - 1];
  say(part.cause, last ? `${state(last.to)[0]} ${ago(last.age_ms)}: ${last.cause}` : "no change so far");
};
const stateOf = ({ breaker }) => (breaker ? state(breaker.state) : ["No breaker", "calls pass", "off"]);
const untilProbe = ({ breaker, heard }, now) => (breaker && breaker.until_probe_ms !== null ? Math.max(0, breaker.until_probe_ms - (now - heard)) : null);
const wordsOf = (item, now) => {
  const { breaker, ejected_ms: ejected, down, heard } = item, left = untilProbe(item, now), [, meaning, tone] = stateOf(item);
  if (left !== null) return left === 0 ? "the next call is a probe" : `next probe in ${left > 99000 ? span(left) : `${Math.ceil(left / 1000)} s`}`;
  if (ejected !== null) return `ejected for ${span(Math.max(0, ejected - (now - heard)))}`;
  if (down) return "marked down";
  return tone === "good" && breaker.consecutive_failures > 1 ? `${breaker.consecutive_failures} failures in a row` : meaning;
};
const countdown = (card) => {
  const { bits: part, item } = card, now = performance.now(), left = untilProbe(item, now);
  say(part.words, wordsOf(item, now));
  part.ring.hidden = left === null;
  if (left === null) return;
  const seconds = Math.ceil(left / 1000);
  say(part.seconds, seconds > 99 ? `${Math.ceil(seconds / 60)}m` : String(seconds));
  part.left.setAttribute("stroke-dashoffset", String(RING * (1 - left / Math.max(card.of, 1))));
};
const updateEndpoint = (card, item) => {
  const { bits: part } = card, breaker = item.breaker, [word, , tone] = stateOf(item), isOut = item.ejected_ms !== null || item.down;
  item.heard = performance.now();
  card.item = item;
  // The ring is full at the longest wait seen of this opening.
  card.of = breaker && breaker.until_probe_ms !== null ? Math.max(card.of || 0, breaker.until_probe_ms) : 0;
  mark(card, "state", breaker ? breaker.state : "none");
  mark(card, "tone", isOut && tone === "good" ? "warn" : tone);
  say(part.badge, word);
  countdown(card);
  const lately = item.attempts.slice(-5), all = item.attempts.reduce((sum, value) => sum + value, 0), bad = item.failed.reduce((sum, value) => sum + value, 0);
  say(part.values[0], some(lately.reduce((sum, value) => sum + value, 0) / Math.max(lately.length, 1)));
  say(part.values[1], all ? `${percent(bad / all)} %` : "–");
  say(part.values[2], count(item.in_flight));
  say(part.values[3], count(item.calls));
  const pad = (values) => Array(Math.max(0, 59 - values.length)).fill(null).concat(values);
  trend(part.trend, pad(item.attempts), pad(item.failed));
  if (breaker) strip(part, breaker, seen.data.uptime_ms);
};
const trend = (host, all, failed) => {
  const top = Math.max(1, ...all), svg = shape("svg", { viewBox: "0 0 590 34", preserveAspectRatio: "none", "aria-hidden": "true" });
  const bars = (values, of) => values.map((value, index) => {
    if (!value) return "";
    const height = Math.max(1.5, (value / top) * 33), below = of ? (of[index] / top) * 33 : 0;
    return `M${index * 10 + 1} ${(34 - below).toFixed(1)}v${(-Math.max(height, 1)).toFixed(1)}h8v${height.toFixed(1)}z`;
  }).join("");
  const good = all.map((value, index) => (value || 0) - (failed[index] || 0));
  svg.append(
    shape("path", { d: bars(failed), class: "area solid f-bad" }),
    shape("path", { d: bars(good, failed.map((value) => value || 0)), class: "area solid f-trend" }),
  );
  host.replaceChildren(svg);
};

// Layers, synchronizations, lists.
const layer = (title, aside) => {
  const card = make("article", "panel card layer"), head = make("h3");
  head.append(isolated(title), make("span", "", aside || ""));
  card.append(head);
  return card;
};
const filled = (card, rows) => {
  const [list, values] = figures(rows.map(([name]) => name), "figures two");
  rows.forEach(([, text], index) => { values[index].textContent = text; });
  card.append(list);
  return card;
};
const bar = (share, kind) => {
  const track = make("div", `bar-track ${kind}`), fill = make("i");
  fill.style.width = `${Math.min(Math.max(share, 0), 1) * 100}%`;
  track.append(fill);
  return track;
};
const number = (value) => (typeof value === "number" ? value : 0);
const cacheCard = ({ name, stats }) => {
  const figures = stats && typeof stats === "object" ? stats : {}, levels = Array.isArray(figures.levels) ? figures.levels.slice(0, 6) : [];
  const asked = number(figures.hits) + number(figures.misses);
  const card = layer(`Cache: ${name}`, asked ? `${percent(number(figures.hits) / asked)} % hits` : "not asked yet");
  for (const level of levels) {
    const of = number(level.hits) + number(level.misses), block = make("div", "level"), line = make("p"), detail = make("p");
    line.append(isolated(String(level.name)), make("b", "", level.up === false ? "down" : of ? `${percent(number(level.hits) / of)} % of ${count(of)}` : "not asked"));
    const held = [level.entries === null || level.entries === undefined ? "" : `${count(level.entries)} entries`, level.bytes ? bytes(level.bytes) : ""];
    detail.append(make("span", "", held.filter(Boolean).join(", ")), make("span", "", number(level.errors) ? `${count(level.errors)} errors` : ""));
    block.append(line, bar(of ? number(level.hits) / of : 0, level.up === false ? "f-bad" : "f-ok"));
    if (detail.textContent) block.append(detail);
    card.append(block);
  }
  return filled(card, [["Shared loads", count(number(figures.coalesced))], ["Served stale", count(number(figures.stale))]]);
};
const webhookCard = ({ name, stats }) => {
  const rows = Object.entries(stats && typeof stats === "object" ? stats : {}).filter(([, value]) => typeof value === "number");
  const first = ["queue_depth", "dead_letters", "accepted", "duplicate", "unauthorized", "handled"];
  rows.sort(([one], [other]) => (first.indexOf(one) + 1 || 99) - (first.indexOf(other) + 1 || 99));
  return filled(layer(`Webhooks: ${name}`), rows.slice(0, 6).map(([key, value]) => [key.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()), count(value)]));
};
const layers = (data) => {
  const cards = [];
  if (data.limiter) {
    const { queue, available, paused_ms: paused, waited, refused } = data.limiter;
    const card = layer("Rate limit", paused !== null ? `paused, ${Math.ceil(paused / 1000)} s left` : queue ? "calls wait" : "free");
    cards.push(filled(card, [["Waiting now", count(queue)], ["Could pass now", count(available)], ["Waited so far", count(waited)], ["Refused so far", count(refused)]]));
  }
  if (data.credentials) {
    const { provider, generation, expires_ms: expires, age_ms: age, fallback } = data.credentials;
    const word = generation === 0 ? "none yet" : expires === 0 ? "expired" : fallback ? "rotating" : "in use";
    const card = layer("Token", word), from = make("p", "note");
    from.append("from ", isolated(provider));
    card.append(from);
    cards.push(filled(card, [["Expires", expires === null ? "never" : expires ? `in ${span(expires)}` : "expired"], ["Renewed", age === null ? "not yet" : ago(age)], ["Generation", count(generation)]]));
  }
  cards.push(...data.caches.map(cacheCard), ...data.webhooks.map(webhookCard));
  $("layers-section").hidden = cards.length === 0;
  $("layers").replaceChildren(...cards);
};
const syncs = (data) => {
  $("syncs-section").hidden = data.syncs.length === 0;
  keyed($("syncs"), data.syncs, (item) => item.name, (item) => {
    const card = make("article", "panel card layer"), head = make("h3"), aside = make("span"), track = make("div", "bar-track f-again"), fill = make("i");
    head.append(isolated(item.name), aside);
    track.append(fill);
    const [list, values] = figures(["Done", "Pace", "Left", "Lag", "Waiting", "Dead letters"]);
    card.append(head, track, list);
    card.bits = { aside, track, fill, values };
    track.setAttribute("role", "progressbar");
    track.setAttribute("aria-label", item.name);
    return card;
  }, (card, item) => {
    const { aside, track, fill, values } = card.bits, ended = item.total !== null && item.done >= item.total;
    const share = item.total ? Math.min(item.done / item.total, 1) : item.total === 0 ? 1 : null;
    track.classList.toggle("endless", share === null);
    track.classList.toggle("f-ok", ended);
    if (share !== null) { fill.style.width = `${share * 100}%`; track.setAttribute("aria-valuenow", String(Math.floor(share * 100))); }
    const quiet = item.updated_ms > 10000 && !ended ? `silent for ${span(item.updated_ms)}` : "";
    say(aside, quiet || (share === null ? "following" : ended ? `all ${count(item.total)}` : `${Math.floor(share * 100)} % of ${count(item.total)}`));
    say(values[0], count(item.done));
    say(values[1], ended ? "–" : `${some(item.per_second)} /s`);
    say(values[2], ended || item.left_ms === null ? "–" : span(item.left_ms));
    say(values[3], item.lag_ms === null ? "–" : item.lag_ms < 1000 ? time(item.lag_ms) : span(item.lag_ms));
    say(values[4], item.waiting === null ? "–" : count(item.waiting));
    say(values[5], item.dead_letters === null ? "–" : count(item.dead_letters));
  });
};
const copy = async (button, text) => {
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch {
    const range = document.createRange(), selection = getSelection();
    const full = make("span", "", text);
    button.after(full);
    range.selectNodeContents(full);
    selection.removeAllRanges();
    selection.addRange(range);
    try { done = document.execCommand("copy"); } catch { /* The id is in the title as well. */ }
    selection.removeAllRanges();
    full.remove();
  }
  const before = button.textContent;
  if ("done" in button.dataset) return;
  button.dataset.done = "";
  say(button, done ? "Copied" : "Not copied");
  say($("announce"), done ? "Correlation id copied" : "The id could not be copied");
  setTimeout(() => { delete button.dataset.done; say(button, before); }, 1500);
};
const toned = (text, tone) => {
  const badge = make("span", "badge", text);
  badge.dataset.tone = tone;
  return badge;
};
const ageOf = (item) => item.age_ms + (performance.now() - item.heard);
const failureRow = (item) => {
  const row = make("li"), what = make("span", "what"), where = make("span", "where");
  const word = KINDS[item.error] || (item.status ? `HTTP ${item.error}` : item.error);
  what.append(toned(word, { refused: "held", client_error: "warn" }[item.kind] || "bad"), isolated(item.operation || item.method || "call", "op"));
  const tries = item.tries === 0 ? "not sent" : item.tries === 1 ? "1 try" : `${item.tries} tries`;
  where.append(...(item.endpoint ? [isolated(item.endpoint), " · "] : []), `${tries} · ${time(item.duration_ms)}`);
  row.age = make("span", "age");
  row.append(what, row.age, where);
  if (item.correlation_id) {
    const id = item.correlation_id, button = make("button", "copy mono", id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id);
    button.type = "button";
    button.title = `Copy ${id}`;
    button.setAttribute("aria-label", `Copy correlation id ${id}`);
    button.addEventListener("click", () => copy(button, id));
    row.append(button);
  }
  return row;
};
const eventRow = (item) => {
  const row = make("li"), what = make("span", "what"), where = make("span", "where");
  row.dataset.tone = item.tone;
  what.append(toned({ good: "Recovered", warn: "Notice", bad: "Problem", info: "Info" }[item.tone] || "Info", item.tone), isolated(item.text));
  row.times = make("span");
  where.append(isolated(item.subject), row.times);
  row.age = make("span", "age");
  row.append(what, row.age, where);
  return row;
};
const emptied = (host) => { host.replaceChildren(); host.keyed = new Map(); };
const EMPTY = { errors: ["No call has failed.", "Failed calls are not kept: recent_errors is 0."], events: ["Nothing yet: no breaker has moved.", "Events are not kept: recent_events is 0."] };
const list = (name, news, create) => {
  if (!news) return;
  for (const row of news.rows) row.heard = performance.now();
  keyed($(name), news.rows, (row) => row.number, create, (row, item) => {
    row.item = item;
    say(row.age, ago(ageOf(item)));
    if (row.times) say(row.times, item.times > 1 ? ` · ${count(item.times)} times` : "");
  });
  $(`${name}-none`).hidden = news.rows.length > 0;
  say($(`${name}-none`), EMPTY[name][news.most ? 0 : 1]);
  say($(`${name}-count`), news.left_out ? `(${count(news.left_out)} more came too fast to list)` : "");
};

// A frame.
const OUTCOMES = [
  ["ok", "Succeeded at once", "f-ok"], ["ok_retried", "Succeeded after a repeat", "f-again"], ["client_error", "Answered 4xx", "f-client"],
  ["failed", "Failed", "f-bad"], ["refused", "Refused here", "f-held"], ["dropped", "Given up by caller", "f-off"],
];
const outcomes = (counts) => {
  const shown = OUTCOMES.filter(([name], index) => index === 0 || counts[name] > 0);
  keyed($("outcome-legend"), shown, ([name]) => name, ([, text, kind]) => {
    const item = make("li", kind);
    item.append(`${text} `, make("b"));
    return item;
  }, (item, [name]) => say(item.lastChild, count(counts[name])));
  keyed($("outcome-bar"), shown.filter(([name]) => counts[name] > 0), ([name]) => name, ([, , kind]) => make("i", kind), (item, [name]) => { item.style.flexGrow = String(counts[name]); item.style.flexBasis = "0"; });
};
const announced = { verdict: "", states: new Map() };
const announce = (data) => {
  const news = [];
  if (announced.verdict && announced.verdict !== data.verdict.level) news.push(data.verdict.text);
  announced.verdict = data.verdict.level;
  for (const { name, breaker } of data.endpoints) {
    const before = announced.states.get(name), now = breaker ? breaker.state : "";
    if (before !== undefined && before !== now) news.push(`Endpoint ${name}: ${state(now)[0]}`);
    announced.states.set(name, now);
  }
  if (news.length) say($("announce"), news.join(". "));
};
const tiles = (data) => {
  const minute = data.minute, lately = seen.points.slice(-60);
  say($("rate"), some(minute.rate));
  say($("rate-note"), `${count(minute.calls)} in the last minute`);
  spark($("rate-spark"), lately.map((point) => point.ok + point.failed), "f-again");
  say($("success"), percent(minute.success));
  const { client_error: answered, failed, refused } = minute.counts, bad = failed + refused;
  say($("success-note"), minute.success === null ? "no calls" : bad ? `${count(bad)} did not succeed` : answered ? `${count(answered)} answered 4xx` : "every call succeeded");
  spark($("success-spark"), lately.map((point) => (point.ok + point.failed ? point.ok / (point.ok + point.failed) : null)), minute.success !== null && minute.success < 0.99 ? "f-bad" : "f-ok", 1);
  const [value, unit] = latency(minute.p50);
  say($("p50"), value);
  say($("p50-unit"), unit);
  say($("latency-note"), minute.p90 === null ? "no calls" : `p90 ${time(minute.p90)} · p99 ${time(minute.p99)}`);
  spark($("latency-spark"), lately.map((point) => point.p50), "f-held");
  say($("retry"), percent(minute.retries));
  const repeats = minute.counts.retries + minute.counts.failovers;
  say($("retry-note"), `${count(repeats)} repeats${data.retry_budget === null ? "" : `, budget for ${count(data.retry_budget)}`}`);
  spark($("retry-spark"), lately.map((point) => point.repeats), "f-client");
};
// A few endpoints keep their places; of many the worst stand first, unless somebody is among them with the keyboard.
const FEW = 6, DENSE = 8;
const rank = ({ breaker, down, ejected_ms: ejected }) => {
  const tone = breaker ? state(breaker.state)[2] : "off";
  return breaker && ["open", "forced_open"].includes(breaker.state) ? 0 : down || ejected !== null ? 1 : tone === "good" || tone === "off" ? 3 : 2;
};
const inOrder = (endpoints) => {
  const host = $("endpoints");
  host.classList.toggle("dense", endpoints.length > DENSE);
  if (endpoints.length <= FEW) return endpoints;
  if (seen.order && host.contains(document.activeElement)) {
    const place = (item) => { const at = seen.order.indexOf(item.name); return at < 0 ? Infinity : at; };
    return [...endpoints].sort((one, other) => place(one) - place(other) || 0);
  }
  const ordered = [...endpoints].sort((one, other) => rank(one) - rank(other));
  seen.order = ordered.map((item) => item.name);
  return ordered;
};
const show = (data) => {
  // Another process, whose rows have numbers that this page knows from the one before.
  if (seen.data && seen.data.start !== data.start) { emptied($("errors")); emptied($("events")); }
  seen.data = data;
  seen.at = performance.now();
  const last = seen.points.length ? seen.points[seen.points.length - 1].second : -1;
  seen.points.push(...data.points.filter((point) => point.second > last));
  seen.points = seen.points.filter((point) => point.second >= data.second - 300);
  document.title = `${{ ok: "✓", degraded: "!", down: "✕" }[data.verdict.level] || "…"} ${data.title}`;
  say($("title"), data.title);
  mark($("verdict"), "level", data.verdict.level);
  say($("verdict-text"), data.verdict.text);
  keyed($("verdict-more"), data.verdict.more, (text) => text, (text) => make("li", "", text));
  say($("meta"), `up ${span(data.uptime_ms)}\n${new Date(data.at).toLocaleTimeString()}`);
  say($("foot"), `nudj ${data.version} · ${data.viewers === 1 ? "1 viewer" : `${data.viewers} viewers`}`);
  tiles(data);
  outcomes(data.minute.counts);
  $("endpoints-none").hidden = data.endpoints.length > 0;
  keyed($("endpoints"), inOrder(data.endpoints), (item) => item.name, makeEndpoint, updateEndpoint);
  charts.forEach((chart) => chart.draw());
  layers(data);
  syncs(data);
  list("errors", data.errors, failureRow);
  list("events", data.events, eventRow);
  announce(data);
  link("live", "Live");
};

// The link to the server.
const base = location.pathname.replace(/\/+$/, "");
$("json").href = `${base}/snapshot.json`;
let source = null, heard = performance.now(), again = 0;
const link = (kind, text) => {
  mark($("link"), "link", kind);
  say($("link-text"), text);
  document.body.classList.toggle("stale", kind === "stale");
  $("stale").hidden = kind !== "stale";
};
const connect = () => {
  clearTimeout(again);
  if (source) source.close();
  source = new EventSource(`${base}/events`);
  source.addEventListener("hello", (event) => {
    const { controls } = JSON.parse(event.data);
    if (controls !== seen.controls) { seen.controls = controls; emptied($("endpoints")); }
  });
  const take = (event) => { heard = performance.now(); show(JSON.parse(event.data)); };
  source.addEventListener("whole", (event) => { seen.points = []; take(event); });
  source.addEventListener("frame", take);
  source.addEventListener("error", () => {
    // An answer other than a stream ends an EventSource for good: begin a new one.
    if (source.readyState === EventSource.CLOSED) { clearTimeout(again); again = setTimeout(connect, 2000 + Math.random() * 1000); }
  });
};
setInterval(() => {
  const silent = performance.now() - heard;
  if (silent > 3500) {
    const seconds = Math.floor(silent / 1000);
    link("stale", "Stale");
    const note = seen.data ? `No data for ${seconds} s: what you see is old. Reconnecting …` : `No answer for ${seconds} s. Reconnecting …`;
    if (seconds % 5 === 0 || $("stale").textContent === "") say($("stale"), note);
    if (silent > 10000 && seconds % 10 === 0 && source.readyState !== EventSource.CONNECTING) connect();
  } else { say($("stale"), ""); }
  for (const card of $("endpoints").children) countdown(card);
  for (const name of ["errors", "events"]) for (const row of $(name).children) say(row.age, ago(ageOf(row.item)));
}, 500);

// Light and dark.
const THEMES = ["auto", "dark", "light"];
let theme = "auto";
try { theme = localStorage.getItem("nudj-theme") || "auto"; } catch { /* No storage: auto. */ }
const paint = () => {
  if (theme === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
  say($("theme"), `Theme: ${theme}`);
};
if (!THEMES.includes(theme)) theme = "auto";
$("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  try { localStorage.setItem("nudj-theme", theme); } catch { /* Kept until the page is left. */ }
  paint();
});
paint();
connect();
