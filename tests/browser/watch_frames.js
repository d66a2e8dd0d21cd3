// Looks at every frame until `stopWatching()`: are the canvases those that were there, in full colour, drawn on?
() => {
  const root = [...document.querySelectorAll("*")].find((e) =>
    e.shadowRoot?.querySelector(".tocsin"),
  ).shadowRoot;
  const canvases = [...root.querySelectorAll("canvas")];
  const status = root.querySelector(".status");
  const result = {
    canvases: canvases.length,
    frames: 0,
    updates: 0,
    blank: 0,
    remounted: 0,
    dimmed: 0,
    longest_ms: 0,
  };
  const started = performance.now();
  let [text, before, watching] = [status.textContent, started, true];

  const isDrawn = (canvas) => {
    const strip = canvas.getContext("2d").getImageData(0, canvas.height >> 1, canvas.width, 2).data;
    return strip.some((value, i) => i % 4 === 3 && value > 0);
  };
  const isSame = () => {
    const shown = [...root.querySelectorAll("canvas")];
    return shown.length === canvases.length && shown.every((canvas) => canvases.includes(canvas));
  };
  const opacity = (node) => {
    let least = 1;
    for (let n = node; n; n = n.parentElement ?? n.getRootNode().host) {
      least = Math.min(least, Number(getComputedStyle(n).opacity));
    }
    return least;
  };
  const look = (now) => {
    result.longest_ms = Math.max(result.longest_ms, Math.round(now - before));
    before = now;
    result.frames += 1;
    if (!isSame()) result.remounted += 1;
    else if (!isDrawn(canvases[0]) || !isDrawn(canvases[result.frames % canvases.length])) result.blank += 1;
    if (opacity(canvases[0]) < 1) result.dimmed += 1;
    if (status.textContent !== text) result.updates += 1;
    text = status.textContent;
    if (watching) requestAnimationFrame(look);
  };
  window.stopWatching = () => {
    watching = false;
    return { ...result, seconds: Math.round((performance.now() - started) / 100) / 10 };
  };
  requestAnimationFrame(look);
}
