const root = new URL("../", location.origin + location.pathname.replace(/\/?$/, "/"));
const find = (id) => element.querySelector("#" + id);
const status = find("m-status");
const alertLine = find("m-alert");
const results = find("m-results");
let key = "";
let camera = null;

document.documentElement.lang = "en";

// A piece of the page: h("p", {class: "m-note"}, "text", child, ...)
function h(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "text"].includes(name);
  const made = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else if (value !== false) made.setAttribute(attribute, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const say = (text) => { status.textContent = text; };
const showAlert = () => alertLine.scrollIntoView({ block: "nearest" });
const complain = (text) => {
  alertLine.textContent = text;
  if (text) showAlert();
};
const percent = (value) => `${Math.round(100 * value)} %`;
const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const moment = (seconds) => {
  const tenths = Math.round(10 * seconds);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
};
const megabytes = (bytes) => `${bytes < 1e7 ? +(bytes / 1e6).toPrecision(2) : Math.floor(bytes / 1e6)} MB`;
const span = (seconds) => seconds < 120 ? `${Math.round(seconds)} seconds` : `${Math.round(seconds / 60)} minutes`;
const colourOf = (expression) =>
  expression === "uncertain" ? facts.uncertain : facts.colours[expression] ?? facts.other;

// Asks the service; what it refuses is thrown in its own words. A busy service is asked again.
async function ask(path, options = {}, attempts = 4) {
  const headers = key ? { "X-API-Key": key } : {};
  let answer;
  try {
    answer = await fetch(new URL(path, root), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The service cannot be reached."), { unreachable: true });
  }
  if (answer.ok) return answer;
  if (answer.status === 429 && attempts > 1) {
    await pause(Math.min(Number(answer.headers.get("Retry-After")) || 1, 10));
    return ask(path, options, attempts - 1);
  }
  if (answer.status === 401) {
    find("m-key").hidden = false;
    throw new Error(key ? "The service does not know this key." : "Enter the service's key first.");
  }
  if (answer.status === 429) throw new Error("The service is busy. Try again in a minute.");
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `The service answered ${answer.status}.`);
}

// What is asked again and again need not be answered each time.
async function askPatiently(path, options, attempts = 6) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (!error.unreachable || attempt === attempts) throw error;
      await pause(attempt);
    }
  }
}

function form(field, file, name) {
  const body = new FormData();
  body.append(field, file, name);
  return { method: "POST", body };
}

function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function button(text, action, attributes = {}) {
  return h("button", { type: "button", class: "m-button m-small", onclick: action, ...attributes }, text);
}

// What is told of faces in words, for those who do not see the picture: of a crowd, how many.
function inWords(faces) {
  if (!faces.length) return "no face found";
  if (faces.length <= 3) {
    return faces.map((face, i) => face.expression === "uncertain"
      ? `face ${i + 1} is uncertain`
      : `face ${i + 1} looks ${face.expression}, ${percent(face.confidence)}`).join("; ");
  }
  const counts = {};
  for (const { expression } of faces) counts[expression] = (counts[expression] ?? 0) + 1;
  const sorted = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  return `${faces.length} faces: ${sorted.map(([name, count]) => `${count} ${name}`).join(", ")}`;
}

function drawBoxes(overlay, [width, height], faces, names) {
  overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
  // Letters of 11 to 15 pixels of the screen, however large the picture is.
  const shown = overlay.clientWidth || 640;
  const unit = (width / shown) * Math.min(1, Math.max(0.75, shown / 640));
  const drawn = faces.flatMap((face, index) => {
    const [left, top, right, bottom] = face.box_xyxy;
    const box = { x: left, y: top, width: right - left, height: bottom - top, rx: 4 * unit, class: "m-box" };
    const name = String(names[index]);
    const label = { x: Math.max(0, left), y: top > 22 * unit ? top - 22 * unit : Math.max(0, top) };
    const size = 15 * unit;
    const frame = [
      h("rect", { ...box, stroke: "#000", "stroke-width": 5, "stroke-opacity": 0.65 }),
      h("rect", { ...box, stroke: colourOf(face.expression), "stroke-width": 2.5 }),
    ];
    if (!name) return frame;
    return [
      ...frame,
      h("rect", { ...label, width: (0.62 * name.length + 0.7) * size, height: 20 * unit, rx: 4 * unit,
        fill: colourOf(face.expression) }),
      h("text", { x: label.x + 0.35 * size, y: label.y + size, "font-size": size, "font-weight": 700,
        "font-family": "system-ui, sans-serif",
        fill: face.expression === "sad" ? "#fff" : "#111" }, name),
    ];
  });
  overlay.replaceChildren(...drawn);
}

function bars(probabilities) {
  const highest = Math.max(...Object.values(probabilities));
  return h("ul", { class: "m-bars" }, ...Object.entries(probabilities).map(([name, value]) => {
    const fill = h("div", { class: "m-fill", style: `width:${100 * value}%;background:${colourOf(name)}` });
    return h("li", { class: value === highest ? "m-top-one" : "" },
      h("span", {}, name), h("div", { class: "m-track", "aria-hidden": "true" }, fill),
      h("span", { class: "m-value" }, percent(value)));
  }));
}

function faceCard(face, number, actions) {
  const badge = `background:${colourOf(face.expression)};color:${face.expression === "sad" ? "#fff" : "#111"}`;
  const shown = face.expression === "uncertain" ? "uncertain" : `${face.expression}, ${percent(face.confidence)}`;
  return h("li", { class: "m-face" },
    h("div", { class: "m-face-top" },
      h("span", { class: "m-badge", style: badge, "aria-hidden": "true" }, String(number)),
      h("h3", {}, h("span", { class: "m-sr" }, `Face ${number}: `), shown)),
    bars(face.probabilities), ...actions);
}

function resultCard(title, kind, ...buttons) {
  const heading = h("h2", { tabindex: "-1" }, title);
  const body = h("div", { class: "m-body" });
  const row = h("div", { class: "m-row" }, ...buttons);
  const card = h("article", { class: "m-result", "data-kind": kind }, h("div", { class: "m-top" }, heading, row), body);
  row.append(button("Remove", () => { card.dispatchEvent(new Event("removed")); card.remove(); }));
  results.prepend(card);
  return { card, body, row, heading };
}

// Photos

async function readPhoto(file, waiting) {
  say(`Reading ${file.name} …${waiting}`);
  const answer = await (await ask("v1/analyze?annotate=true", form("picture", file, file.name))).json();
  const { result, faces_omitted: omitted, annotated_jpeg: jpeg } = answer.pictures[0];
  const annotated = `data:image/jpeg;base64,${jpeg}`;
  const { card, body, row, heading } = resultCard(file.name, "photo");
  const overlay = h("svg", { "aria-hidden": "true" });
  const words = inWords(result.faces);
  const image = h("img", { alt: `${file.name}: ${words}`, src: URL.createObjectURL(file) });
  // A format that this browser does not know comes as the service drew it.
  if (jpeg) image.addEventListener("error", () => { overlay.remove(); image.src = annotated; }, { once: true });
  card.addEventListener("removed", () => URL.revokeObjectURL(image.src));
  image.addEventListener("load", () => drawBoxes(overlay, result.size_wh, result.faces, result.faces.map((_, i) => i + 1)));
  body.append(h("div", { class: "m-stage" }, image, overlay));
  body.classList.toggle("m-crowd", result.faces.length > 2);
  const stem = file.name.replace(/\.[^.]*$/, "");
  if (result.faces.length) {
    body.append(h("ul", { class: "m-faces" }, ...result.faces.map((face, index) => faceCard(face, index + 1, [whyButton(file, index)]))));
    row.prepend(
      button("Table", () => save(new Blob([photoTable(result)], { type: "text/csv" }), `${stem}.csv`), { "aria-label": `Download the table of ${file.name}, CSV` }),
      // There is none of a picture that is too large for a JPEG.
      ...(jpeg ? [button("Picture", () => save(new Blob([Uint8Array.from(atob(jpeg), (c) => c.charCodeAt(0))], { type: "image/jpeg" }), `${stem}-faces.jpg`), { "aria-label": `Download ${file.name} with boxes` })] : []));
  } else {
    body.append(h("p", {}, "No face found. Faces that look towards the camera and are not too small are found best."));
  }
  if (omitted) body.append(h("p", { class: "m-note" }, `${many(omitted, "smaller face was", "smaller faces were")} left out.`));
  say(`${file.name}: ${words}.`);
  heading.focus({ preventScroll: true });
  card.scrollIntoView({ behavior: "smooth", block: "start" });
}

function photoTable(result) {
  const quoted = (text) => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const names = Object.keys(result.faces[0].probabilities);
  const facts = ["source", "width", "height", "face", "expression", "confidence", "left", "top", "right", "bottom", "score"];
  const taken = [...facts, "frame", "time_s", "track"];
  const head = [...facts, ...names.map((name) => quoted(taken.includes(name) ? `class_${name}` : name))];
  const rows = result.faces.map((face, index) => [quoted(result.source), ...result.size_wh, index, quoted(face.expression),
    face.confidence, ...face.box_xyxy, face.score, ...names.map((name) => face.probabilities[name])]);
  return [head, ...rows].map((row) => row.join(",") + "\n").join("");
}

// Covers parts of a face, by the service, and shows which of them the answer hung on.
function whyButton(file, index) {
  const place = h("div", { class: "m-why", "aria-live": "polite" });
  const asked = button("Where did it look?", async () => {
    asked.disabled = true;
    try {
      const why = await (await ask(`v1/explain?face=${index}`, form("picture", file, file.name))).json();
      const canvas = h("canvas", { role: "img", "aria-label": `Face ${index + 1}: ${whereIn(why)}` });
      await drawFalls(canvas, why);
      place.replaceChildren(canvas, h("p", { class: "m-note" }, `Bright: covering this spot makes “${why.expression}” less probable. Found by covering parts, not by Grad-CAM, which needs the training network.`));
      asked.remove();
    } catch (error) {
      asked.disabled = false;
      place.replaceChildren(h("p", { class: "m-alert" }, error.message));
    }
  }, { "aria-label": `Where did it look in face ${index + 1}?` });
  return h("div", {}, asked, place);
}

function whereIn({ falls, expression }) {
  const third = falls.length / 3;
  const means = ["eyes and brows", "nose and cheeks", "mouth and chin"].map((name, part) => {
    const rows = falls.slice(Math.round(part * third), Math.round((part + 1) * third)).flat();
    return [rows.reduce((sum, value) => sum + Math.max(value, 0), 0), name];
  });
  const [most, name] = means.sort((a, b) => b[0] - a[0])[0];
  return most > 0 ? `“${expression}” depends most on ${name}` : `no part alone makes it “${expression}”`;
}

async function drawFalls(canvas, { falls, crop_png: png }) {
  const picture = new Image();
  picture.src = `data:image/png;base64,${png}`;
  await picture.decode();
  const side = falls.length;
  const heat = h("canvas", { width: side, height: side });
  const pixels = new ImageData(side, side);
  const most = Math.max(...falls.flat(), 1e-6);
  falls.flat().forEach((fall, i) => {
    const share = Math.max(fall, 0) / most;
    pixels.data.set([255, 200 - 90 * (1 - share), 40, 190 * share], 4 * i);
  });
  heat.getContext("2d").putImageData(pixels, 0, 0);
  canvas.width = canvas.height = 384;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, 384, 384);
  context.fillStyle = "rgb(0 0 0 / 35%)";
  context.fillRect(0, 0, 384, 384);
  context.drawImage(heat, 0, 0, 384, 384);
}

// Clips

async function readClip(file, waiting) {
  say(`Sending ${file.name} …${waiting}`);
  const stop = new AbortController();
  const { card, body, row, heading } = resultCard(file.name, "clip");
  body.classList.add("m-film");
  const bar = h("progress", { max: 1, "aria-label": `Progress of ${file.name}` });
  const words = h("p", { class: "m-note" }, "Sending …");
  body.append(bar, words);
  let job = null;
  card.addEventListener("removed", () => {
    stop.abort();
    // What was read goes with its card.
    if (job) ask(`v1/video/${job.id}`, { method: "DELETE" }).catch(() => {});
    say(`${file.name}: removed.`);
  });
  heading.focus({ preventScroll: true });
  card.scrollIntoView({ behavior: "smooth", block: "start" });
  try {
    job = await (await ask("v1/video", { ...form("video", file, file.name), signal: stop.signal })).json();
    say(`Reading ${file.name} …${waiting}`);
    while (job.state === "queued" || job.state === "running") {
      await pause(0.4);
      if (!card.isConnected) return;
      job = await (await askPatiently(`v1/video/${job.id}`, { signal: stop.signal })).json();
      bar.value = job.progress;
      const left = job.eta_s === null ? "" : `, about ${clock(Math.ceil(job.eta_s))} left`;
      words.textContent = job.state === "queued" ? "Waiting for its turn …" : `${percent(job.progress)} read${left}`;
    }
    if (job.state === "failed") throw new Error(job.problem.detail);
    const summary = await (await askPatiently(`v1/video/${job.id}/summary`)).json();
    bar.remove();
    words.remove();
    await showClip(file, job, summary, body, row, card);
    say(`${file.name}: read, ${many(summary.people.length, "person", "people")}.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    card.dispatchEvent(new Event("removed"));
    card.remove();
    throw error;
  }
}

async function showClip(file, job, summary, body, row, card) {
  const overlay = h("svg", { "aria-hidden": "true" });
  const video = h("video", { controls: true, muted: true, playsinline: true, src: URL.createObjectURL(file), "aria-label": `The clip ${file.name}` });
  const stage = h("div", { class: "m-stage" }, video, overlay);
  video.addEventListener("error", () => stage.replaceWith(h("p", { class: "m-note" }, "This browser cannot play the clip; what was read in it is below.")), { once: true });
  card.addEventListener("removed", () => URL.revokeObjectURL(video.src));
  body.append(stage);
  if (job.truncated) body.append(h("p", { class: "m-note" }, `The clip is cut short: ${job.truncated}.`));
  const stem = file.name.replace(/\.[^.]*$/, "");
  const problem = h("p", { class: "m-alert", role: "alert" });
  body.before(problem);
  for (const format of ["parquet", "json", "csv"]) {
    row.prepend(button({ csv: "CSV", json: "JSON", parquet: "Parquet" }[format], async () => {
      problem.textContent = "";
      try {
        save(await (await ask(`v1/video/${job.id}/result?format=${format}`)).blob(), `${stem}.${format}`);
      } catch (error) { problem.textContent = error.message; }
    }, { "aria-label": `Download the table of ${file.name}, ${format.toUpperCase()}` }));
  }
  if (!summary.people.length) {
    body.append(h("p", {}, "Nobody's face was found in the clip."));
    return;
  }
  body.append(timeline(summary, video), peopleTable(summary), timesTable(summary, video));
  if (job.frames <= 5000) {
    const frames = await (await askPatiently(`v1/video/${job.id}/result?format=json`)).json();
    followBoxes(video, overlay, frames);
  }
}

// Draws the boxes of the frame that is shown, as the clip plays.
function followBoxes(video, overlay, frames) {
  const show = () => {
    let low = 0;
    let high = frames.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (frames[middle].time_s <= video.currentTime + 0.001) low = middle;
      else high = middle - 1;
    }
    const faces = frames[low].faces.map((face) => ({ ...face.face, expression: face.expression }));
    drawBoxes(overlay, frames[low].size_wh, faces, frames[low].faces.map((face) => `${face.track} ${face.expression}`));
  };
  const next = () => { show(); if (video.isConnected) video.requestVideoFrameCallback?.(next); };
  video.requestVideoFrameCallback?.(next);
  // Before its size is known, letters would be as large as for a small video.
  video.addEventListener("loadedmetadata", show);
  video.addEventListener("seeked", show);
  video.addEventListener("timeupdate", show);
  show();
}

function timeline(summary, video) {
  const length = Math.max(summary.duration_s, 0.001);
  const heads = [];
  const lanes = summary.people.map((person) => {
    const head = h("b", {});
    heads.push(head);
    const parts = summary.episodes.filter((each) => each.track === person.track).map((each) =>
      h("i", { title: `${each.expression}, ${moment(each.start_s)} to ${moment(each.end_s)}`,
        style: `left:${100 * each.start_s / length}%;width:${100 * (each.end_s - each.start_s) / length}%;background:${colourOf(each.expression)}` }));
    const seek = (event) => {
      const { left, width } = event.currentTarget.getBoundingClientRect();
      video.currentTime = length * (event.clientX - left) / width;
    };
    return h("div", { class: "m-lane" }, h("span", {}, `Person ${person.track}`), h("div", { class: "m-strip", onclick: seek }, ...parts, head));
  });
  video.addEventListener("timeupdate", () => heads.forEach((head) => { head.style.left = `${100 * video.currentTime / length}%`; }));
  const shown = [...new Set(summary.episodes.map((each) => each.expression))];
  const axis = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, length < 60 ? `${(part * length).toFixed(1)} s` : clock(part * length)));
  // The same is said in the tables below it.
  return h("div", { "aria-hidden": "true" },
    h("div", { class: "m-lanes" }, ...lanes), h("div", { class: "m-axis" }, ...axis),
    h("ul", { class: "m-legend" }, ...shown.map((name) => h("li", {}, h("i", { style: `background:${colourOf(name)}` }), name))));
}

function table(caption, head, rows) {
  const cells = (kind, row) => h("tr", {}, ...row.map((cell, i) => h(i ? kind : "th", { scope: kind === "th" ? "col" : i ? false : "row" }, cell)));
  return h("div", { class: "m-scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption), h("thead", {}, cells("th", head)), h("tbody", {}, ...rows.map((row) => cells("td", row)))));
}

function peopleTable(summary) {
  const names = Object.keys(summary.people[0].shares).filter((name) => summary.people.some((person) => person.shares[name] > 0));
  return table("How long each person showed what, as a share of the time seen", ["Person", "Seen", ...names],
    summary.people.map((person) => [String(person.track), `${person.seen_s.toFixed(1)} s`, ...names.map((name) => percent(person.shares[name]))]));
}

function timesTable(summary, video) {
  const rows = summary.episodes.slice(0, 200).map((each) => [
    button(moment(each.start_s), () => { video.currentTime = each.start_s; video.focus(); }, { "aria-label": `Go to ${moment(each.start_s)} in the clip` }),
    `person ${each.track}`, each.expression, `${(each.end_s - each.start_s).toFixed(1)} s`, percent(each.confidence)]);
  const more = summary.episodes.length - rows.length;
  return h("details", { style: "margin-top:16px" }, h("summary", {}, "All times"),
    table("When what was shown; where uncertain, the confidence is of the most probable expression", ["From", "Who", "Expression", "Lasts", "Confidence"], rows),
    more > 0 ? h("p", { class: "m-note" }, `${more} more are in the table to download.`) : null);
}

// The camera: one frame is on its way at a time, so a slow service sees fewer.

async function startCamera() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 960 }, facingMode: "user" }, audio: false });
  const { card, body, row, heading } = resultCard("Camera", "camera");
  const overlay = h("svg", { class: "m-mirrored", "aria-hidden": "true" });
  const video = h("video", { class: "m-mirrored", autoplay: true, playsinline: true, "aria-label": "Your camera" });
  video.muted = true;
  video.srcObject = stream;
  const faces = h("ul", { class: "m-faces" });
  body.append(h("div", { class: "m-stage" }, video, overlay), faces);
  camera = { stop: () => { stream.getTracks().forEach((track) => track.stop()); camera = null; card.remove(); showCameraButton(); say("The camera is off."); } };
  card.addEventListener("removed", () => camera?.stop());
  row.lastChild.textContent = "Stop the camera";
  row.prepend(button("Read this frame as a photo", async () => {
    const blob = await frameOf(video);
    if (blob) await handle([new File([blob], `camera ${new Date().toLocaleTimeString("en-GB").replaceAll(":", "-")}.jpg`, { type: "image/jpeg" })]);
  }));
  showCameraButton();
  heading.focus({ preventScroll: true });
  card.scrollIntoView({ behavior: "smooth", block: "start" });
  follow(video, overlay, faces, card);
}

function frameOf(video) {
  const scale = Math.min(1, 640 / Math.max(video.videoWidth, 1));
  const canvas = h("canvas", { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) });
  if (!canvas.width || !canvas.height) return null;
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
}

async function follow(video, overlay, list, card) {
  let told = "";
  let toldAt = 0;
  while (camera && card.isConnected) {
    const frame = document.hidden ? null : await frameOf(video);
    if (!frame) { await pause(0.1); continue; }
    try {
      const { result } = (await (await ask("v1/analyze", form("picture", frame, "frame.jpg"), 10)).json()).pictures[0];
      drawBoxes(overlay, result.size_wh, result.faces, result.faces.map(() => ""));
      list.replaceChildren(...result.faces.slice(0, 6).map((face, i) => faceCard(face, i + 1, [])));
      const words = inWords(result.faces).replace(/, \d+ %/g, "");
      // Not more often than can be listened to.
      if (words !== told && Date.now() - toldAt > 3000) { say(`Camera: ${words}.`); told = words; toldAt = Date.now(); }
    } catch (error) {
      complain(error.message);
      camera?.stop();
    }
  }
}

function showCameraButton() {
  find("m-camera").textContent = camera ? "Stop the camera" : "Use the camera";
}

// Together

async function handle(files) {
  complain("");
  const problems = [];
  let told = "";
  for (const [index, file] of files.entries()) {
    const after = files.length - index - 1;
    const read = file.type.startsWith("video/") || /\.(mp4|mov|mkv|webm|avi|m4v)$/i.test(file.name) ? readClip : readPhoto;
    try {
      await read(file, after ? ` ${after} more waiting.` : "");
      told = status.textContent;
    } catch ({ message }) {
      problems.push(message.startsWith(file.name) ? message : `${file.name}: ${message}`);
      say(told);
      complain(problems.join("\n"));
    }
  }
  // What was read after it has moved the page. Set again, the text would be read aloud again.
  if (problems.length) showAlert();
}

async function tellFacts() {
  try {
    const model = await (await ask("v1/model")).json();
    const { max_picture_bytes: picture, max_video_bytes: video, max_video_s: longest, keep_video_s: keep } = model.limits;
    find("m-model").textContent = `${model.name} ${model.version}`;
    find("m-limits").textContent = `Photos up to ${megabytes(picture)}; clips up to ${megabytes(video)} and ${span(longest)}.`;
    find("m-keep").textContent = span(keep);
    find("m-key").hidden = true;
    complain("");
  } catch (error) {
    // That it needs a key is said beside the field.
    if (key || find("m-key").hidden) complain(error.message);
  }
}

const drop = find("m-drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("m-over"); });
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("m-over"); });
drop.addEventListener("drop", (event) => handle([...event.dataTransfer.files]));
// A file dropped beside it would else replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
document.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) handle([...event.clipboardData.files]); });
find("m-files").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  await handle(files);
});
find("m-camera").addEventListener("click", async (event) => {
  complain("");
  if (camera) { camera.stop(); return; }
  // Asked twice while the browser asks for leave, a second camera would run that nothing stops.
  const asked = event.currentTarget;
  asked.disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error("Browsers allow the camera only on https pages, and on pages of this computer.");
    await startCamera();
  } catch (error) {
    complain(error.name === "NotAllowedError" ? "The browser blocks the camera for this page. Allow it beside the address." : error.name === "NotFoundError" ? "No camera was found." : error.message);
  } finally {
    asked.disabled = false;
  }
});
find("m-key").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = find("m-key-field").value.trim();
  await tellFacts();
  if (find("m-key").hidden) find("m-files").focus();
});
tellFacts();
