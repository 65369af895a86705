// The explorer's stage: the figure of a frame, the clip that plays, and a cursor that follows its sound.
//
// The sound's clock leads. While it runs, the cursor and the images follow it at the screen's rate; the figure, which
// the kernel draws, follows as fast as that can: the next one is asked for when the last has come.

const AGAIN_MS = 160; // at least, between two figures while the clip plays: Jupyter limits how much a kernel may send
const MARGIN_PX = 4;
const LATE_MS = 1000; // an answer that takes longer is taken for lost

function element(parent, name, className, text = "") {
  const made = parent.appendChild(document.createElement(name));
  made.className = className;
  made.textContent = text;
  return made;
}

function blobInto(target, bytes, type) {
  if (target.src.startsWith("blob:")) URL.revokeObjectURL(target.src);
  target.src = URL.createObjectURL(new Blob([bytes], { type }));
}

// Move the notebook so that the explorer begins at its top; scrollIntoView would move all of JupyterLab too.
function bringIntoView(node) {
  const top = node.getBoundingClientRect().top;
  let panel = node.parentElement;
  const scrolls = (it) => /auto|scroll/.test(getComputedStyle(it).overflowY) && it.scrollHeight > it.clientHeight + 1;
  while (panel && !scrolls(panel)) panel = panel.parentElement;
  if (panel) panel.scrollTop += top - panel.getBoundingClientRect().top - MARGIN_PX;
}

function render({ model, el }) {
  const root = element(el, "div", "musetools-stage");
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys

  const bar = element(root, "div", "musetools-bar");
  const play = element(bar, "button", "musetools-play", "play clip");
  const clock = element(bar, "span", "musetools-clock");
  const players = model.get("roles").map((role, side) => {
    const button = element(bar, "button", `musetools-chunk-${side}`, `play ${role}'s chunk`);
    const sound = new Audio();
    button.onclick = () => {
      blobInto(sound, model.get("chunks")[side], "audio/wav");
      sound.play();
    };
    return sound;
  });
  element(bar, "span", "musetools-keys", "keys: space, ← →, n next difference, w worst frame; click to go there");

  const box = element(root, "div", "musetools-box");
  const figure = element(box, "img", "musetools-figure");
  const video = element(box, "video", "musetools-video");
  video.preload = "auto";
  const cursors = ["whole", "near"].map((name) => element(box, "div", `musetools-cursor musetools-cursor-${name}`));

  const now = () => (video.paused ? model.get("start_s") : video.currentTime);

  function place(left, top, width, height, target) {
    Object.assign(target.style, {
      left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%`,
    });
  }

  // Both cursors at a time of the clip: in the panels of the whole clip, and in those around the frame that is drawn.
  function show(time_s) {
    const { whole, near, end_s, reach_s } = model.get("places");
    const [left, top, width, height] = whole;
    place(left + (width * time_s) / end_s, top, 0, height, cursors[0]);
    const offset = (time_s - model.get("start_s")) / reach_s;
    place(near[0] + (near[2] * (1 + offset)) / 2, near[1], 0, near[3], cursors[1]);
    cursors[1].style.visibility = !video.paused && Math.abs(offset) <= 1 ? "visible" : "hidden";
    cursors[0].style.visibility = video.paused ? "hidden" : "visible";
    clock.textContent = `${time_s.toFixed(2)} s`;
    root.dataset.cursorS = time_s;
  }

  let askedAt = -LATE_MS;
  let waiting = false;

  function ask(time_s) {
    askedAt = performance.now();
    waiting = true;
    model.set("plays", !video.paused);
    model.set("asked_s", time_s);
    model.save_changes();
  }

  function tick() {
    show(video.currentTime);
    if (video.paused) return;
    const since = performance.now() - askedAt;
    if (since > (waiting ? LATE_MS : AGAIN_MS)) ask(video.currentTime);
    requestAnimationFrame(tick);
  }

  video.onplay = () => {
    play.textContent = "pause";
    video.style.visibility = model.get("has_images") ? "visible" : "hidden";
    tick();
  };
  video.onpause = () => {
    if (video.readyState === 0) return; // another clip has been loaded
    play.textContent = "play clip";
    video.style.visibility = "hidden"; // the figure's own image is exact, and of the frame that is drawn
    ask(video.currentTime);
    show(video.currentTime);
  };
  play.onclick = () => {
    players.forEach((sound) => sound.pause());
    video.paused ? video.play() : video.pause();
  };

  function goTo(time_s) {
    const at = Math.max(0, Math.min(time_s, model.get("places").end_s));
    video.paused ? ask(at) : (video.currentTime = at);
  }

  box.onclick = (event) => {
    root.focus({ preventScroll: true }); // so that keys come here
    const area = figure.getBoundingClientRect();
    const x = (event.clientX - area.left) / area.width;
    const y = (event.clientY - area.top) / area.height;
    const { whole, near, end_s, reach_s } = model.get("places");
    const inside = ([left, top, width, height]) => x >= left && x <= left + width && y >= top && y <= top + height;
    if (inside(whole)) goTo((end_s * (x - whole[0])) / whole[2]);
    else if (inside(near)) goTo(model.get("start_s") + reach_s * ((2 * (x - near[0])) / near[2] - 1));
  };

  root.onkeydown = (event) => {
    const asks = { ArrowRight: "next frame", ArrowLeft: "frame before", n: "next difference", w: "worst frame" };
    if (event.key === " " && event.target === root) play.onclick();
    else if (asks[event.key]) {
      video.pause();
      model.send({ ask: asks[event.key] });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const draw = () => blobInto(figure, model.get("figure"), "");
  const load = () => {
    play.textContent = "play clip";
    video.style.visibility = "hidden";
    blobInto(video, model.get("film"), model.get("has_images") ? "video/webm" : "audio/webm");
  };
  const settle = () => {
    const [left, top, width, height] = model.get("places").image;
    place(left, top, width, height, video);
    if (video.paused) {
      video.currentTime = model.get("start_s");
      show(model.get("start_s"));
    }
  };
  const answered = () => (waiting = false);
  const events = { figure: draw, film: load, start_s: settle, places: settle, answered_s: answered };
  for (const [name, act] of Object.entries(events)) model.on(`change:${name}`, act);
  load();
  figure.addEventListener("load", () => bringIntoView(el.closest(".widget-vbox") ?? el), { once: true });
  draw();
  settle();
  return () => {
    video.pause();
    for (const [name, act] of Object.entries(events)) model.off(`change:${name}`, act);
  };
}

export default { render };
