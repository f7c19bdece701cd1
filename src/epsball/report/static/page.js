"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined && text !== null) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const meta = JSON.parse($("meta").textContent);
  const ROW = 36, NONE = "–", VERDICTS = [...document.querySelectorAll("[data-verdict]")].map((chip) => chip.dataset.verdict);
  const unpack = async (id) => {
    const text = atob($(id).textContent), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };

  // The address: what is filtered, sorted, selected and open, so that a copied link shows the same.
  const FRESH = { v: "", q: "", label: "", chg: "", sort: "", ex: "", flip: "", open: "", at: "", t: "" };
  const read = () => {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return { ...state, at: decodeURIComponent(hash) };
    const given = new URLSearchParams(hash), found = { ...FRESH };
    for (const key of Object.keys(FRESH)) found[key] = given.get(key) ?? "";
    return found;
  };
  let state = { ...FRESH };
  state = read();
  const write = () => {
    const given = new URLSearchParams();
    for (const [key, value] of Object.entries(state)) if (value !== "") given.set(key, value);
    const text = given.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };
  const set = (change) => { Object.assign(state, change); write(); };
  const goto = (id) => {
    const target = id && $(id);
    if (!target) return;
    document.querySelectorAll(".terms .here").forEach((term) => term.classList.remove("here"));
    if (id.startsWith("term-")) { target.classList.add("here"); target.focus({ preventScroll: true }); }
    target.scrollIntoView({ behavior: "instant" });
    document.querySelectorAll(".top nav a").forEach((link) => link.toggleAttribute("aria-current", link.hash === `#${id}`));
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    event.preventDefault();
    const hash = link.getAttribute("href").slice(1), given = new URLSearchParams(hash);
    const change = hash.includes("=") ? { ...FRESH, t: state.t, open: state.open, ...Object.fromEntries(given) } : { at: hash };
    set(change);
    if (hash.includes("=")) refresh();
    goto(state.at);
  });

  // Colours, open sections, help.
  const THEMES = ["", "light", "dark"], SAID = { "": "as the system", light: "light", dark: "dark" };
  const paint = () => {
    if (state.t) document.documentElement.dataset.theme = state.t; else delete document.documentElement.dataset.theme;
    $("theme").textContent = { "": "Auto", light: "Light", dark: "Dark" }[state.t] ?? "Auto";
    $("theme").setAttribute("aria-label", `Colours: ${SAID[state.t] ?? SAID[""]}`);
  };
  $("theme").addEventListener("click", () => { set({ t: THEMES[(THEMES.indexOf(state.t) + 1) % 3] }); paint(); redraw(); });
  const twins = [...document.querySelectorAll("details[id]")], closed = new Set(twins.filter((twin) => twin.open).map((twin) => twin.id));
  const unfold = () => {
    const flipped = new Set(state.open.split(",").filter(Boolean));
    for (const twin of twins) twin.open = closed.has(twin.id) !== flipped.has(twin.id);
  };
  for (const twin of twins) twin.addEventListener("toggle", () => {
    set({ open: twins.filter((other) => other.open !== closed.has(other.id)).map((other) => other.id).join(",") });
  });
  let unprinted = [];
  addEventListener("beforeprint", () => { unprinted = twins.filter((twin) => !twin.open && twin.id !== "trust-checks"); unprinted.forEach((twin) => { twin.open = true; }); });
  addEventListener("afterprint", () => unprinted.forEach((twin) => { twin.open = false; }));
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
  let redraw = () => {}, refresh = () => {};
  paint(); unfold(); goto(state.at);

  // The columns.
  const KINDS = { Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Float32: Float32Array };
  const buffer = await unpack("columns"), total = meta.total, columns = {};
  for (const column of meta.columns) {
    column.values = new KINDS[column.type](buffer, column.at, total);
    columns[column.name] = column;
  }
  const spelled = (value) => {
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  };
  const shown = (column, row) => {
    const value = column.values[row];
    if (column.kind === "number") return Number.isNaN(value) ? NONE : Number.isFinite(value) ? spelled(value) : value > 0 ? "∞" : "−∞";
    if (value === 0) return NONE;
    return column.kind === "word" ? column.words[value - 1] : column.name === "index" ? String(value - 1) : (value - 1).toLocaleString("en");
  };
  const START = columns.change ? "change" : "margin" in columns ? "margin" : "";
  const index = columns.index.values, numbers = Array.from(index, (value) => String(value - 1));
  const rowOf = new Map(Array.from(index, (value, row) => [value - 1, row]));

  // Filter, search and sort give the order in which rows are shown.
  let order = new Uint32Array(0);
  const SEARCHED = ["label", "prediction", "witness", "by", "reason", "change", "hard", "verdict"].filter((name) => columns[name]);
  const matches = (text) => {
    const wanted = text.toLowerCase(), hit = new Uint8Array(total);
    if (wanted.startsWith("#")) { for (let i = 0; i < total; i++) hit[i] = numbers[i] === wanted.slice(1); return hit; }
    for (const name of SEARCHED) {
      const { words, values } = columns[name], found = new Uint8Array(words.length + 1);
      words.forEach((word, code) => { found[code + 1] = word.toLowerCase().includes(wanted) ? 1 : 0; });
      if (found.includes(1)) for (let i = 0; i < total; i++) hit[i] |= found[values[i]];
    }
    if (/^\d+$/.test(wanted)) for (let i = 0; i < total; i++) if (numbers[i].startsWith(wanted)) hit[i] = 1;
    return hit;
  };
  const arrange = () => {
    const hit = state.q ? matches(state.q) : null;
    const wanted = state.v ? new Set(state.v.split(",").map((word) => columns.verdict.words.indexOf(word) + 1)) : null;
    const label = state.label === "" ? 0 : Number(state.label) + 1;
    const change = state.chg && columns.change ? columns.change.words.indexOf(state.chg) + 1 : 0;
    const kept = new Uint32Array(total);
    let count = 0;
    for (let i = 0; i < total; i++) {
      if (hit && !hit[i]) continue;
      if (wanted && !wanted.has(columns.verdict.values[i])) continue;
      if (label && columns.label.values[i] !== label) continue;
      if (change && columns.change.values[i] !== change) continue;
      kept[count++] = i;
    }
    order = kept.slice(0, count);
    const sort = state.sort || START, down = sort.startsWith("-"), column = columns[sort.replace("-", "")];
    if (!column) return;
    const sign = down ? -1 : 1, last = sign * Infinity, key = new Float64Array(total), values = column.values;
    if (column.kind === "word" && !["verdict", "change", "before"].includes(column.name)) {
      const rank = new Float64Array(column.words.length + 1).fill(last);
      [...column.words.keys()].sort((a, b) => column.words[a].localeCompare(column.words[b], "en", { numeric: true })).forEach((code, place) => { rank[code + 1] = place; });
      for (let i = 0; i < total; i++) key[i] = rank[values[i]];
    } else if (column.kind === "number") for (let i = 0; i < total; i++) key[i] = Number.isNaN(values[i]) ? last : values[i];
    else for (let i = 0; i < total; i++) key[i] = values[i] === 0 ? last : values[i];
    order.sort((a, b) => (key[a] === key[b] ? a - b : sign * (key[a] - key[b])));
  };

  // The table: only the rows in view are in the document.
  const view = $("view"), grid = $("grid"), body = grid.tBodies[0], head = grid.tHead;
  const WIDE = new Set(["prediction", "witness", "by", "before"]);
  const line = make("tr", null, { "aria-rowindex": "1" });
  for (const name of meta.table) {
    const cell = make("th", null, { scope: "col" }), button = make("button", columns[name].title, { type: "button" });
    cell.className = `${columns[name].kind === "word" ? "word" : ""} ${WIDE.has(name) ? "wide" : ""}`.trim();
    button.addEventListener("click", () => {
      const now = state.sort || START;
      set({ sort: now === name ? `-${name}` : now === `-${name}` ? "" : name });
      refresh();
    });
    cell.append(button);
    line.append(cell);
  }
  head.append(line);
  const spacer = () => { const row = make("tr", null, { "aria-hidden": "true", class: "spacer" }); row.append(make("td", null, { colspan: meta.table.length })); return row; };
  const above = spacer(), below = spacer();
  const rows = () => {
    const first = Math.max(0, Math.floor(view.scrollTop / ROW) - 6), stop = Math.min(order.length, first + Math.ceil(view.clientHeight / ROW) + 12);
    const focused = document.activeElement && body.contains(document.activeElement) ? document.activeElement.dataset.index : null;
    const lines = [above];
    above.firstChild.style.height = `${first * ROW}px`;
    below.firstChild.style.height = `${(order.length - stop) * ROW}px`;
    const current = state.ex !== "" && rowOf.has(Number(state.ex)) ? rowOf.get(Number(state.ex)) : -1;
    for (let place = first; place < stop; place++) {
      const row = order[place], entry = make("tr", null, { "aria-rowindex": String(place + 2), "data-row": String(row) });
      if (row === current) entry.setAttribute("aria-current", "true");
      for (const name of meta.table) {
        const column = columns[name], cell = make("td");
        if (column.kind === "word") cell.className = "word";
        if (WIDE.has(name)) cell.classList.add("wide");
        const text = shown(column, row);
        if (name === "index") cell.append(make("button", text, { type: "button", class: "open", "data-index": text, "aria-label": `Example ${text}`, tabindex: row === current || (current < 0 && place === first) ? "0" : "-1" }));
        else if (name === "verdict" || name === "before") cell.append(badge(text));
        else { cell.textContent = text; if (text.length > 16) cell.title = text; }
        entry.append(cell);
      }
      lines.push(entry);
    }
    body.replaceChildren(...lines, below);
    grid.setAttribute("aria-rowcount", String(order.length + 1));
    if (focused !== null) body.querySelector(`[data-index="${focused}"]`)?.focus({ preventScroll: true });
  };
  const SVG = "http://www.w3.org/2000/svg";
  const badge = (verdict) => {
    const all = make("span"), drawn = document.createElementNS(SVG, "svg"), square = document.createElementNS(SVG, "rect");
    drawn.setAttribute("class", `swatch v-${VERDICTS.includes(verdict) ? verdict : "invalid"}`);
    drawn.setAttribute("viewBox", "0 0 10 10"); drawn.setAttribute("aria-hidden", "true");
    square.setAttribute("width", "10"); square.setAttribute("height", "10"); square.setAttribute("rx", "2");
    drawn.append(square); all.append(drawn, ` ${verdict}`);
    return all;
  };
  view.addEventListener("scroll", () => requestAnimationFrame(rows), { passive: true });
  new ResizeObserver(() => rows()).observe(view);
  const filters = () => {
    $("q").value = state.q;
    const pressed = new Set(state.v.split(","));
    document.querySelectorAll("[data-verdict]").forEach((chip) => chip.setAttribute("aria-pressed", String(pressed.has(chip.dataset.verdict))));
    $("label").value = state.label;
    if ($("change-filter")) $("change-filter").value = state.chg;
    const sort = state.sort || START, name = sort.replace("-", "");
    [...head.rows[0].cells].forEach((cell, k) => {
      const here = meta.table[k] === name;
      cell.setAttribute("aria-sort", here ? (sort.startsWith("-") ? "descending" : "ascending") : "none");
      cell.firstChild.textContent = columns[meta.table[k]].title + (here ? (sort.startsWith("-") ? " ↓" : " ↑") : "");
    });
  };
  refresh = (keep = false) => {
    filters(); arrange();
    if (!keep) view.scrollTop = 0;
    const count = order.length.toLocaleString("en");
    $("shown").textContent = `Showing ${count} of ${total.toLocaleString("en")} examples.`;
    rows(); show();
  };
  const choose = (row, scroll = true) => {
    set({ ex: String(index[row] - 1), flip: "" });
    const place = order.indexOf(row), top = place * ROW;
    if (scroll && place >= 0 && (top < view.scrollTop || top > view.scrollTop + view.clientHeight - 3 * ROW)) view.scrollTop = Math.max(0, top - view.clientHeight / 2);
    rows(); show();
  };
  const step = (by) => {
    if (!order.length) return;
    const place = state.ex === "" ? -1 : order.indexOf(rowOf.get(Number(state.ex)) ?? -1);
    choose(order[place < 0 ? 0 : Math.min(order.length - 1, Math.max(0, place + by))]);
  };

  // The viewer.
  const viewer = $("viewer"), pixels = unpack("pixels"), pictured = new Map(meta.pictures.map((picture) => [picture.index, picture]));
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const canvas = (picture, label, value) => {
    const [height, width, channels] = picture.shape, drawn = make("canvas", null, { role: "img", "aria-label": label });
    drawn.width = width; drawn.height = height;
    const context = drawn.getContext("2d"), image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const rgb = value(i, channels);
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = rgb[k];
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return drawn;
  };
  const signed = (share) => { // the colours of the library's figures: of the least, the middle and the largest number
    const far = Math.min(1, Math.abs(share)), end = meta.colours[share < 0 ? 0 : 2];
    return end.map((channel, k) => meta.colours[1][k] + far * (channel - meta.colours[1][k]));
  };
  const slider = (move) => {
    const all = make("label", null, { class: "slide" }), range = make("input", null, { type: "range", min: "0", max: "100", id: "flip", "aria-label": "From the example to the witness" });
    range.value = state.flip === "" ? "50" : state.flip;
    range.addEventListener("input", () => { set({ flip: range.value }); move(Number(range.value)); });
    all.append(make("span", "example"), range, make("span", "witness"));
    return [all, range];
  };
  const imagePair = (picture, data, label) => {
    const n = picture.shape.reduce((a, b) => a * b, 1), x = new Uint8Array(data, picture.x, n), span = (picture.high - picture.low) / 255;
    const channel = (channels, k) => (channels === 1 ? 0 : k);
    const grey = (value) => 255 * Math.min(1, Math.max(0, (value - picture.low) / (picture.high - picture.low)));
    const clean = canvas(picture, `Example ${label}`, (i, c) => [0, 1, 2].map((k) => x[c * i + channel(c, k)]));
    if (picture.change < 0) { const only = make("figure", null, { class: "single" }); only.append(clean, make("figcaption", "the example")); return [only]; }
    const change = new Int8Array(data, picture.change, n), size = picture.scale / 127;
    const witness = canvas(picture, `Witness of example ${label}`, (i, c) => [0, 1, 2].map((k) => { const at = c * i + channel(c, k); return grey(picture.low + x[at] * span + change[at] * size); }));
    const apart = canvas(picture, `Witness minus example ${label}`, (i, c) => (c === 1 ? signed(change[i] / 127) : [0, 1, 2].map((k) => 127.5 + change[c * i + k])));
    const stage = make("div", null, { class: "stage" }), bar = make("i");
    witness.classList.add("over");
    const move = (value) => { witness.style.clipPath = `inset(0 ${100 - value}% 0 0)`; bar.style.left = `calc(${value}% - 1px)`; };
    const [control, range] = slider(move);
    const drag = (event) => { const box = stage.getBoundingClientRect(); range.value = String(Math.round(100 * (event.clientX - box.left) / box.width)); range.dispatchEvent(new Event("input")); };
    stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
    stage.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
    stage.append(clean, witness, bar);
    move(Number(range.value));
    const left = make("figure"), right = make("figure"), pair = make("div", null, { class: "pair" }), ends = columns.size ? shown(columns.size, rowOf.get(picture.index)) : spelled(picture.scale);
    left.append(stage, make("figcaption", "left of the line: witness; right: example"));
    right.append(apart, make("figcaption", picture.shape[2] === 1 ? `change: blue −${ends}, red +${ends}` : `change per channel about grey: black −${ends}, white +${ends}`));
    pair.append(left, right);
    return [pair, control];
  };
  const bars = (picture, data, label) => {
    const n = picture.shape[0], x = new Uint16Array(data, picture.x, n), change = picture.change < 0 ? null : new Int16Array(data, picture.change, n);
    const drawn = make("canvas", null, { role: "img", class: "bars", "aria-label": `Values of example ${label}${change ? " and of its witness" : ""}` });
    const draw = (share) => {
      const wide = drawn.width = 2 * (drawn.clientWidth || 340), high = drawn.height = 352, pen = drawn.getContext("2d"), each = wide / n;
      const level = (value) => high - 4 - (high - 8) * (value - picture.low) / (picture.high - picture.low);
      for (let i = 0; i < n; i++) {
        const value = picture.low + x[i] / 65535 * (picture.high - picture.low), moved = change ? value + change[i] / 32767 * picture.scale : value;
        pen.fillStyle = colour("sky"); pen.fillRect(i * each, Math.min(level(0), level(value)), Math.max(1, each - 1), Math.max(1, Math.abs(level(value) - level(0))));
        if (change) { const at = value + (moved - value) * share; pen.fillStyle = colour(moved < value ? "blue" : "vermilion"); pen.fillRect(i * each, Math.min(level(at), level(value)), Math.max(1, each - 1), Math.max(2, Math.abs(level(at) - level(value)))); }
      }
      pen.fillStyle = colour("ink"); pen.fillRect(0, level(0), wide, 1);
    };
    const figure = make("figure", null, { class: "values" }), [control, range] = slider((value) => draw(value / 100));
    const some = picture.places ? `${n} of ${meta.values.toLocaleString("en")} values, those that change most; ` : `${n} values; `;
    figure.append(drawn, make("figcaption", `${some}from ${spelled(picture.low)} to ${spelled(picture.high)}${change ? "; red: raised, blue: lowered" : ""}`));
    requestAnimationFrame(() => draw(Number(range.value) / 100));
    return change ? [figure, control] : [figure];
  };
  const sentence = (row) => {
    if (!columns.size || !columns.size.values[row]) return null;
    return `The witness changes values by at most ${shown(columns.size, row)} at ${shown(columns.changed, row)} of ${meta.values.toLocaleString("en")} values.`;
  };
  let asked = 0;
  const show = async () => {
    const mine = ++asked, row = state.ex === "" ? undefined : rowOf.get(Number(state.ex));
    if (row === undefined) {
      const text = state.ex === "" ? "Select an example: a click, or the keys j and k." : `There is no example ${state.ex}.`;
      return viewer.replaceChildren(make("p", text, { class: "empty" }));
    }
    const position = index[row] - 1, picture = pictured.get(position), verdict = shown(columns.verdict, row), label = `${position}, ${shown(columns.label, row)}`;
    const title = make("h3", `Example ${position}`), said = make("span", null, { class: "verdict" });
    said.append(badge(verdict)); title.append(said);
    const parts = [title];
    if (picture) parts.push(...(picture.kind === "image" ? imagePair : bars)(picture, await pixels, label));
    else {
      const note = make("p", "Picture not included. ");
      const kept = verdict === "broken" ? "The run's folder holds it:" : "If the run's folder holds it:";
      note.append(`${kept} `, make("code", `${meta.command}${position}`));
      parts.push(note);
    }
    if (mine !== asked) return undefined;
    const changed = sentence(row);
    if (changed) parts.push(make("p", changed));
    const facts = make("dl");
    for (const column of meta.columns) {
      const text = shown(column, row);
      if (text !== NONE && !["index", "verdict", "size", "changed"].includes(column.name)) facts.append(make("dt", column.title), make("dd", text));
    }
    const steps = make("p", null, { class: "steps" });
    for (const [name, by] of [["Previous", -1], ["Next", 1]]) { const button = make("button", name, { type: "button" }); button.addEventListener("click", () => { step(by); viewer.querySelectorAll(".steps button")[by < 0 ? 0 : 1]?.focus(); }); steps.append(button); }
    viewer.replaceChildren(...parts, facts, steps);
    return undefined;
  };
  redraw = show;

  // Events.
  body.addEventListener("click", (event) => {
    const entry = event.target.closest("tr[data-row]");
    if (entry) { const open = event.target.closest(".open"); choose(Number(entry.dataset.row), false); if (open) body.querySelector(`[data-index="${open.dataset.index}"]`)?.focus({ preventScroll: true }); }
  });
  view.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && document.activeElement.closest("#grid tbody")) { event.preventDefault(); step(by); body.querySelector(`[data-index="${state.ex}"]`)?.focus({ preventScroll: true }); }
  });
  const toggle = (verdict) => {
    const now = new Set(state.v.split(",").filter(Boolean));
    if (!now.delete(verdict)) now.add(verdict);
    set({ v: VERDICTS.filter((word) => now.has(word)).join(",") });
    refresh();
  };
  document.querySelectorAll("[data-verdict]").forEach((chip) => chip.addEventListener("click", () => toggle(chip.dataset.verdict)));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("q").addEventListener("input", () => { set({ q: $("q").value.trim() }); refresh(); });
  const listed = (id, key, words, value) => {
    for (const [code, word] of words.entries()) $(id).append(make("option", word, { value: value(code, word) }));
    $(id).addEventListener("change", () => { set({ [key]: $(id).value }); refresh(); });
  };
  const present = new Set(columns.label.values);
  listed("label", "label", columns.label.words, (code) => String(code));
  [...$("label").options].forEach((option) => { if (option.value !== "" && !present.has(Number(option.value) + 1)) option.remove(); });
  if ($("change-filter") && columns.change) listed("change-filter", "chg", columns.change.words, (_, word) => word);
  $("clear").addEventListener("click", () => { set({ v: "", q: "", label: "", chg: "", sort: "" }); refresh(); });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=search],select,textarea");
    if (event.key === "Escape" && typing) return event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return undefined;
    if (event.key === "/") { event.preventDefault(); $("q").focus(); }
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "?") $("help").showModal();
    else if (event.key >= "1" && event.key <= String(VERDICTS.length)) toggle(VERDICTS[Number(event.key) - 1]);
    else if (event.key === "c" && $("flip")) { $("flip").value = Number($("flip").value) > 50 ? "0" : "100"; $("flip").dispatchEvent(new Event("input")); }
    return undefined;
  });
  addEventListener("hashchange", () => { state = read(); paint(); unfold(); refresh(); goto(state.at); });
  $("browse").hidden = false;
  refresh();
  if (state.ex !== "" && rowOf.has(Number(state.ex))) { const place = order.indexOf(rowOf.get(Number(state.ex))); if (place > 8) view.scrollTop = (place - 4) * ROW; }
  goto(state.at);
  globalThis.readyAt = performance.now();
  document.documentElement.dataset.ready = "true";
})();
