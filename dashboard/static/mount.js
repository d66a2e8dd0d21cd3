// How a component lives: made once for its place on the page, then only updated.

/**
 * Turn `create(root) -> {update(component), destroy()}` into a Streamlit component.
 *
 * Streamlit calls the component again for every update, and runs the clean-up of a call that was overtaken
 * while it waited. So clean-up looks whether the place is really gone before it takes anything down.
 */
export function mounted(create) {
  const views = new WeakMap();
  return async (component) => {
    const root = component.parentElement;
    if (!views.has(root))
      views.set(
        root,
        styled(root).then(() => create(root)),
      );
    const view = await views.get(root);
    view.update(component);
    return () =>
      setTimeout(() => {
        if (root.isConnected || !views.delete(root)) return;
        view.destroy();
      });
  };
}

/** Load the style sheets into the component's shadow root, and be done when they apply. */
function styled(root) {
  const { search } = new URL(import.meta.url);
  const sheets = ["uPlot.min.css", "tocsin.css"].map((file) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = new URL(file + search, import.meta.url).href;
    const applied = new Promise((done) => link.addEventListener("load", done, { once: true }));
    link.addEventListener("error", () => console.error(`Tocsin: cannot load ${link.href}`), { once: true });
    root.append(link);
    return applied;
  });
  return Promise.all(sheets);
}

/** Tells payloads that continue what the page has from repeats and from those after a gap. */
export class Sequence {
  #run = null;
  #seq = 0;
  #asked = 0;

  /** "whole", "more", or null for one to pass over; asks for everything where something is missing. */
  accept({ run, seq, base }, ask) {
    if (run === this.#run && seq <= this.#seq) return null;
    if (base !== null && (run !== this.#run || base !== this.#seq)) {
      this.#askOnce(ask);
      return null;
    }
    this.#run = run;
    this.#seq = seq;
    return base === null ? "whole" : "more";
  }

  #askOnce(ask) {
    const now = performance.now();
    if (now - this.#asked < 2000 && this.#asked > 0) return;
    this.#asked = now;
    ask();
  }
}
