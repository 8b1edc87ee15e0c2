// Frames per second, dots in all, and seconds that a dot takes from end to end.
const [FPS, DOTS, SECONDS] = [15, 60, 2.4];
// After this long without news, nothing is known to move: the kernel may be gone.
const SILENT_MS = 3000;
const MARK_UP = `
  <section data-station="site"><h4>site</h4>
    <p><b data-number="produced"></b> <span>produced</span></p>
    <p><b data-number="per second" class="small"></b> <span>per second</span>
      <svg data-line="rates" viewBox="0 0 60 16" preserveAspectRatio="none"><polyline/></svg></p>
    <p><b data-number="readers" class="small"></b> <span>readers ·</span> <span data-text="site"></span></p>
  </section>
  <section data-station="kafka"><h4>Kafka</h4>
    <p class="wide"><b data-number="in Kafka"></b> <span>in Kafka</span>
      <b data-number="lag" class="small"></b> <span>lag</span>
      <svg data-line="lags" viewBox="0 0 60 16" preserveAspectRatio="none"><polyline/></svg></p>
    <div class="lanes"></div>
    <p data-sources></p></section>
  <section data-station="consumers"><h4 data-text="consumers"></h4><div class="owners"></div></section>
  <section data-station="index"><h4>OpenSearch</h4>
    <p><b data-number="indexed"></b> <span>indexed</span></p>
    <p><b data-number="Kafka to index" class="small"></b> <span>Kafka to index</span></p>
    <p data-text="index"></p>
    <p class="wide"><b data-number="repeats" class="small"></b> <span>repeats</span>
      <a data-station="dead letters"><b data-number="dead letters" class="small"></b>
      <span>dead letters</span></a></p>
    <p data-text="age"></p></section>
  <canvas aria-hidden="true"></canvas>`;

const line = (values) => {
  const most = Math.max(...values, 1);
  const step = 60 / Math.max(1, values.length - 1);
  return values.map((y, i) => `${(i * step).toFixed(1)},${(15 - (14 * y) / most).toFixed(1)}`).join(" ");
};
const element = (name, className, text = "") => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};
const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

// One row of `lanes`; its parts are filled by `fillLane`.
function makeLane() {
  const lane = element("div", "lane");
  lane.append(
    element("span", "name"), element("span", "end"), element("span", "bar"),
    element("span", "lag"), element("span", "trouble"),
  );
  lane.querySelector(".bar").append(element("i", ""));
  return lane;
}

function fillLane(lane, { partition, end, lag, trouble }, most) {
  lane.dataset.partition = partition;
  lane.dataset.trouble = trouble;
  setText(lane.querySelector(".name"), `partition ${partition}`);
  setText(lane.querySelector(".end"), end);
  setText(lane.querySelector(".lag"), `lag ${lag.toLocaleString("en")}`);
  setText(lane.querySelector(".trouble"), trouble);
  lane.querySelector("i").style.width = `${Math.min(100, (100 * lag) / most)}%`;
}

function makeOwner() {
  const owner = element("div", "owner");
  owner.append(element("span", ""), element("span", "its"));
  return owner;
}

function fillOwner(owner, [name, partitions]) {
  setText(owner.firstChild, name);
  const count = partitions.length;
  const list = count > 4 ? `${count} partitions` : `partition${count > 1 ? "s" : ""} ${partitions.join(", ")}`;
  setText(owner.lastChild, list);
}

// As many children as there are items, each filled.
function fill(box, items, make, fillOne) {
  while (box.children.length > items.length) box.lastChild.remove();
  while (box.children.length < items.length) box.append(make());
  items.forEach((item, place) => fillOne(box.children[place], item));
}

function render({ model, el }) {
  el.classList.add("clickstream-pipeline");
  el.innerHTML = MARK_UP;
  const part = (selector) => el.querySelector(selector);
  const canvas = part("canvas");
  const isStill = matchMedia("(prefers-reduced-motion: reduce)");
  let state = {};
  let timer = 0;
  let heardMs = 0;

  const show = () => {
    state = JSON.parse(model.get("_state"));
    if (!state.numbers) return;
    for (const [name, text] of Object.entries(state.numbers)) {
      const number = part(`[data-number="${name}"]`);
      setText(number, text);
      number.classList.toggle("stale", state.stale.includes(name));
    }
    for (const name of ["site", "consumers", "index", "age"]) setText(part(`[data-text="${name}"]`), state[name]);
    const [shown, all] = [state.lanes.length, state.partitions];
    setText(part("[data-sources]"), state.sources + (shown < all ? ` · ${shown} of ${all} partitions` : ""));
    for (const name of ["lags", "rates"])
      part(`[data-line="${name}"] polyline`).setAttribute("points", line(state[name]));
    // The bars of all lanes have one scale, of at least a second of traffic.
    const most = Math.max(20, ...state.lanes.map(({ lag, rate }) => Math.max(lag, rate)));
    fill(part(".lanes"), state.lanes, makeLane, (lane, item) => fillLane(lane, item, most));
    fill(part(".owners"), Object.entries(state.owners), makeOwner, fillOwner);
    el.dataset.countedMs = state.counted_ms;
    heardMs = performance.now();
    animate();
  };

  // Corners of the way of each lane's dots, in pixels.
  const ways = () => {
    const origin = el.getBoundingClientRect();
    const box = (node) => {
      const { left, right, top, height } = node.getBoundingClientRect();
      return { left: left - origin.left, right: right - origin.left, y: top - origin.top + height / 2 };
    };
    const site = box(part("[data-station=site]"));
    const index = box(part("[data-station=index]"));
    const consumers = box(part("[data-station=consumers]"));
    const owners = [...el.querySelectorAll(".owner")];
    return [...el.querySelectorAll(".lane")].map((node, place) => {
      const lane = box(node.querySelector(".bar"));
      const names = Object.keys(state.owners);
      const owner = owners[names.indexOf(state.lanes[place]?.owner)];
      const y = owner ? box(owner).y : lane.y;
      const end = [[consumers.left, y], [consumers.right, y], [index.left, index.y]];
      return [[site.right, site.y], [lane.left, lane.y], [lane.right, lane.y], ...(owner ? end : [])];
    });
  };
  const at = (way, share) => {
    const lengths = way.slice(1).map(([x, y], i) => Math.hypot(x - way[i][0], y - way[i][1]));
    let rest = share * lengths.reduce((sum, each) => sum + each, 0);
    const i = Math.max(0, lengths.findIndex((length) => (rest -= length) <= 0));
    const back = lengths[i] ? 1 + rest / lengths[i] : 0;
    return [0, 1].map((axis) => way[i][axis] + (way[i + 1][axis] - way[i][axis]) * back);
  };
  const draw = () => {
    const scale = devicePixelRatio;
    const size = [el.clientWidth, el.clientHeight].map((each) => Math.round(each * scale));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, el.clientWidth, el.clientHeight);
    const most = Math.floor(DOTS / Math.max(1, state.lanes.length));
    let dots = 0;
    ways().forEach((way, place) => {
      const { rate, trouble } = state.lanes[place];
      const decades = Math.log10(1 + rate); // 0 to about 3.5
      const count = Math.min(most, Math.ceil(5 * decades));
      const turn = (performance.now() / 1000 / SECONDS) * (0.6 + 0.25 * decades);
      pen.fillStyle = trouble ? "#b55703" : "#0072b2";
      for (let dot = 0; dot < count; dot += 1) {
        const [x, y] = at(way, (turn + dot / count) % 1);
        pen.beginPath();
        pen.arc(x, y, 3.5, 0, 2 * Math.PI);
        pen.fill();
      }
      dots += count;
    });
    canvas.dataset.dots = dots;
  };
  const isMoving = () =>
    !isStill.matches && !document.hidden && el.offsetParent &&
    performance.now() - heardMs < SILENT_MS && state.lanes?.some(({ rate }) => rate > 0);
  const animate = () => {
    if (timer) return;
    if (!isMoving()) {
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      canvas.dataset.dots = 0;
      return;
    }
    draw();
    timer = setTimeout(() => {
      timer = 0;
      animate();
    }, 1000 / FPS);
  };

  const onClick = ({ target }) => {
    const station = target.closest("[data-station]")?.dataset.station;
    const partition = target.closest("[data-partition]")?.dataset.partition;
    if (station) model.send({ station, partition: partition === undefined ? null : Number(partition) });
  };

  el.addEventListener("click", onClick);
  document.addEventListener("visibilitychange", animate);
  model.on("change:_state", show);
  show();
  return () => {
    clearTimeout(timer);
    timer = -1; // nothing begins again
    document.removeEventListener("visibilitychange", animate);
    model.off("change:_state", show);
  };
}

export default { render };
