// One plotly.js for all charts of a page, whatever notebook they are in.
const libraries = (globalThis.__clickstreamPlotly ??= {});

function evaluate(bytes) {
  const module = { exports: {} };
  // Not as a script: other things in the page may have a plotly.js of their own.
  new Function("module", "exports", "define", new TextDecoder().decode(bytes))(module, module.exports);
  return module.exports;
}

function library(model) {
  const version = model.get("_version");
  libraries[version] ??= model.widget_manager
    .get_model(model.get("_library").replace("IPY_MODEL_", ""))
    .then((found) => evaluate(found.get("source")));
  libraries[version].catch(() => delete libraries[version]); // another chart may find it
  return libraries[version];
}

// CSS for the patterns of clickstream/charts/theme.py, in white on a series' colour.
const stripes = (degrees) => `repeating-linear-gradient(${degrees}deg, #fff 0 1.5px, #0000 1.5px 5px)`;
const patterns = {
  "/": stripes(135), "\\": stripes(45), "-": stripes(0), "|": stripes(90),
  x: `${stripes(45)}, ${stripes(135)}`,
  ".": "radial-gradient(#fff 1.2px, #0000 1.7px) 0 0 / 5px 5px",
};

// Plotly's texts have tags, and characters such as &lt; in place of what would be one.
const characters = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };
const unescaped = (text) => text.replace(/&(lt|gt|amp);/g, (each) => characters[each]);
const plain = (text) => unescaped(text.replaceAll("<br>", " ").replace(/<[^>]*>/g, ""));

// The slices of a pie, described like the series of other charts. A label has a name in bold, and a
// number that changes.
const slices = ({ labels, marker }) =>
  labels.map((label, place) => ({
    name: label,
    label: plain(label),
    key: /<b>(.*?)<\/b>/.exec(label)?.[1],
    fillcolor: marker?.colors?.[place],
    fillpattern: { shape: marker?.pattern?.shape?.[place] },
  }));

// One name of a legend; a click hides its series or shows it again.
function makeLegendItem() {
  const item = document.createElement("button");
  item.style.cssText =
    "all: unset; cursor: pointer; white-space: nowrap; display: flex; align-items: center; gap: 4px";
  const swatch = document.createElement("span");
  swatch.className = "clickstream-swatch";
  swatch.style.cssText = "width: 18px; height: 0.7em";
  item.append(swatch, "");
  return item;
}

function fillLegendItem(item, { label, fillcolor, line, marker, fillpattern }, isHidden, onClick) {
  item.style.opacity = isHidden ? 0.4 : 1;
  item.ariaPressed = !isHidden;
  const pattern = patterns[(fillpattern ?? marker?.pattern)?.shape];
  const colour = line?.color ?? fillcolor ?? marker?.color;
  const [swatch, text] = item.childNodes;
  swatch.style.background = pattern ? `${pattern}, ${colour}` : colour;
  if (patterns["."] === pattern) swatch.style.backgroundColor = colour;
  text.data = label;
  item.onclick = onClick;
}

// What has a size of its own: margins, and the names of marks.
function enlarge(layout, scale) {
  for (const side in layout.margin) layout.margin[side] *= scale;
  for (const each of layout.annotations ?? []) {
    if (each.font?.size) each.font.size *= scale;
    for (const shift of ["ax", "ay"]) if (each[shift]) each[shift] *= scale;
  }
}

function render({ model, el }) {
  const heading = document.createElement("div");
  heading.style.cssText =
    "font: bold clamp(12px, 4.4cqw, 15px * var(--clickstream-scale, 1)) Helvetica, Arial, sans-serif; padding: 4px 8px 0";
  const legend = document.createElement("div");
  legend.style.cssText =
    "font: clamp(11px, 3cqw, 16px * var(--clickstream-scale, 1)) Helvetica, Arial, sans-serif; padding: 2px 8px 0; " +
    "display: flex; flex-wrap: wrap; gap: 0 12px; justify-content: center";
  const plot = document.createElement("div");
  plot.className = "clickstream-live-chart";
  const height = model.get("height");
  // In percent: what is left of the box below heading and legend.
  const isFilling = height.endsWith("%");
  plot.style.cssText = `flex: 1 1 0; min-width: 0; ${isFilling ? "min-height: 0" : `min-height: ${height}`}`;
  el.style.containerType = "inline-size";
  el.style.minWidth = 0; // or a grid would not let it shrink
  // Not on `el`: the kernel sets its `display`.
  const box = document.createElement("div");
  box.style.cssText = "display: flex; flex-direction: column; height: 100%";
  const body = document.createElement("div");
  body.style.cssText = `display: flex; flex: ${isFilling ? "1 1 0; min-height: 0" : "none"}`;
  body.append(legend, plot);
  const note = document.createElement("div");
  note.style.cssText = "font: 600 clamp(11px, 4cqw, 15px * var(--clickstream-scale, 1)) Helvetica, Arial, sans-serif; padding: 0 8px";
  box.append(heading, body, note);
  el.append(box);
  let Plotly = null;
  let frame = 0;
  let isGone = false;
  let drawn = 0;
  const hidden = new Set();

  // Plotly's own legend needs a fixed height, and hides names that do not fit.
  const drawLegend = (data, layout) => {
    const isPie = data[0]?.type === "pie";
    const series = isPie
      ? slices(data[0])
      : data.map((each) => ({ ...each, key: each.name, label: unescaped(each.name ?? "") }));
    const named = layout.showlegend ? series : [];
    layout.showlegend = false;
    if (isPie) data[0].domain = {}; // beside the legend
    body.style.flexDirection = isPie ? "row-reverse" : "column";
    legend.style.flexDirection = isPie ? "column" : "row";
    layout.hiddenlabels = named.filter(({ key }) => hidden.has(key)).map(({ name }) => name);
    for (const each of data) if (hidden.has(each.name)) each.visible = "legendonly";
    const toggle = (key) => {
      if (!hidden.delete(key)) hidden.add(key);
      soon();
    };
    // The same elements, or a click that a new figure interrupts would be lost, and the focus, too.
    while (legend.children.length > named.length) legend.lastChild.remove();
    while (legend.children.length < named.length) legend.append(makeLegendItem());
    named.forEach((each, place) =>
      fillLegendItem(legend.children[place], each, hidden.has(each.key), () => toggle(each.key)),
    );
  };

  const draw = () => {
    frame = 0;
    const { data = [], layout = {} } = JSON.parse(model.get("_figure"));
    // As long as this stays the same, plotly keeps what the viewer did: zoom, legend.
    layout.uirevision ??= "live";
    layout.autosize = true;
    // Plotly would cut a long title off; the browser wraps it.
    const title = (layout.title?.text ?? "").split("</b><br>")[0];
    heading.textContent = plain(title);
    const scale = Number(getComputedStyle(el).getPropertyValue("--clickstream-scale")) || 1;
    const size = Math.min(plot.clientWidth / 28, plot.clientHeight / 9);
    layout.font = { ...layout.font, size: Math.min(Math.max(size, 12), 16 * scale) };
    enlarge(layout, scale);
    drawLegend(data, layout);
    // Plotly would keep the margins of the axes that an empty chart no longer has.
    if (!data.length) Plotly.purge(plot);
    delete layout.title;
    delete layout.width;
    delete layout.height;
    // Plotly's buttons would lie above what one clicks on in a small chart.
    const config = { responsive: true, displaylogo: false, displayModeBar: isFilling ? false : "hover" };
    Plotly.react(plot, data, layout, config);
    // The last click counts, once: plotly forgets it when it is purged.
    plot.removeAllListeners?.("plotly_click");
    plot.on?.("plotly_click", ({ points: [{ x, y, label }] }) => model.send({ x, y, label }));
    plot.dataset.drawn = ++drawn;
  };
  // At most once a frame, and never in a tab that nobody sees.
  const soon = () => {
    if (Plotly && !isGone) frame ||= requestAnimationFrame(draw);
  };
  const showNote = () => (note.textContent = model.get("note"));
  showNote();
  model.on("change:note", showNote);
  model.on("change:_figure", soon);
  const resized = new ResizeObserver(soon); // the text follows the width
  resized.observe(plot);
  library(model).then((found) => {
    Plotly = found;
    soon();
  });
  return () => {
    isGone = true;
    cancelAnimationFrame(frame);
    resized.disconnect();
    model.off("change:_figure", soon);
    model.off("change:note", showNote);
    Plotly?.purge(plot);
  };
}

export default { render };
