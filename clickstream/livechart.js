// One plotly.js for all charts of a page, whatever notebook they are in.
const PLEASE = "plotly.js, please";
const ASK_AGAIN_MS = 5_000; // whoever was asked first may belong to a kernel that is gone
const LOOK_EVERY_MS = 20;
const libraries = (globalThis.__clickstreamPlotly ??= {});

function evaluate(bytes) {
  const module = { exports: {} };
  // Not as a script: other things in the page may have a plotly.js of their own.
  new Function("module", "exports", "define", new TextDecoder().decode(bytes))(module, module.exports);
  return module.exports;
}

async function library(model, isGone) {
  const shared = (libraries[model.get("_version")] ??= { plotly: null, askedAt: -Infinity });
  const receive = (message, buffers) => {
    if (message === PLEASE) shared.plotly ??= evaluate(buffers[0]);
  };
  model.on("msg:custom", receive);
  while (!shared.plotly && !isGone()) {
    if (performance.now() - shared.askedAt > ASK_AGAIN_MS) {
      shared.askedAt = performance.now();
      model.send(PLEASE);
    }
    await new Promise((resume) => setTimeout(resume, LOOK_EVERY_MS));
  }
  model.off("msg:custom", receive);
  return shared.plotly;
}

function render({ model, el }) {
  const heading = document.createElement("div");
  heading.style.cssText =
    "font: bold 15px Helvetica, Arial, sans-serif; padding: 4px 8px 0; " +
    "overflow: hidden; white-space: nowrap; text-overflow: ellipsis";
  const plot = document.createElement("div");
  plot.className = "clickstream-live-chart";
  plot.style.height = model.get("height");
  el.style.minWidth = 0; // or a grid would not let it shrink
  el.append(heading, plot);
  let Plotly = null;
  let frame = 0;
  let isGone = false;
  let drawn = 0;

  const draw = () => {
    frame = 0;
    const { data = [], layout = {} } = JSON.parse(model.get("_figure"));
    // As long as this stays the same, plotly keeps what the viewer did: zoom, legend.
    layout.uirevision ??= "live";
    layout.autosize = true;
    // Plotly would cut a long title off in the middle of a letter.
    heading.textContent = (layout.title?.text ?? "").split("<br>")[0].replace(/<[^>]*>/g, "");
    heading.title = heading.textContent;
    delete layout.title;
    delete layout.width;
    delete layout.height;
    Plotly.react(plot, data, layout, { responsive: true, displaylogo: false });
    plot.dataset.drawn = ++drawn;
  };
  // At most once a frame, and never in a tab that nobody sees.
  const soon = () => {
    if (Plotly && !isGone) frame ||= requestAnimationFrame(draw);
  };
  model.on("change:_figure", soon);
  library(model, () => isGone).then((found) => {
    Plotly = found;
    soon();
  });
  return () => {
    isGone = true;
    cancelAnimationFrame(frame);
    model.off("change:_figure", soon);
    Plotly?.purge(plot);
  };
}

export default { render };
