// The smallest and the largest height of the room, in pixels.
const [LOWEST, HIGHEST] = [480, 1400];
// So close to the top of the window, in pixels, it was meant to be at the top.
const IN_SIGHT = 100;
// The size of a full screen, in pixels, at which nothing is enlarged.
const [WIDTH, HEIGHT] = [1280, 720];
const FIELDS = "input, textarea, select, [contenteditable='true']";

function render({ model, el }) {
  el.style.display = "none";
  let room = null;
  let notebook = null; // what scrolls; null in another front end

  const isFull = () => document.fullscreenElement === room;
  const scroll = () => {
    if (!notebook) return;
    // The browser would rather keep the active cell in its place when text appears above it.
    notebook.style.overflowAnchor = "none";
    el.closest(".jp-OutputArea").scrollIntoView();
  };
  const fit = () => {
    const scale = isFull() ? Math.min(room.clientWidth / WIDTH, room.clientHeight / HEIGHT) : 1;
    room.style.setProperty("--clickstream-scale", Math.max(1, scale));
    if (!notebook || isFull()) return; // a full screen has its own height
    const above = room.getBoundingClientRect().top - notebook.getBoundingClientRect().top;
    // The cell adds some pixels above and below.
    const height = Math.min(Math.max(notebook.clientHeight - 12, LOWEST), HIGHEST);
    room.style.setProperty("--clickstream-room-height", `${height}px`);
    if (Math.abs(above) < IN_SIGHT) scroll(); // what is above it may have become longer or shorter
  };
  const close = () => room.querySelectorAll("[data-open]").forEach((each) => delete each.dataset.open);
  const onClick = ({ target }) => {
    const opener = target.closest(".clickstream-opener");
    const panel = target.closest(".clickstream-panel");
    const wasOpen = opener?.parentElement.dataset.open;
    // A slider stays open, because it is moved several times.
    if (!panel || target.closest("button")) close();
    if (opener && !wasOpen) opener.parentElement.dataset.open = "yes";
    if (!target.closest(".clickstream-full-screen")) return;
    if (isFull()) document.exitFullscreen();
    else room.requestFullscreen();
  };
  // The button that a key presses in a full screen.
  const pressed = (key) => {
    if (key === " ") return room.querySelector(".clickstream-start-stop");
    if (key === "r") return room.querySelector(".clickstream-be-a-reader");
    return /^[1-7]$/.test(key) ? room.querySelectorAll(".clickstream-scenario")[key - 1] : null;
  };
  const onKey = (event) => {
    const { key, target } = event;
    if (key === "Escape") {
      close();
      if (room.querySelector(".clickstream-is-open")) model.send({ key }); // a drawer is the kernel's
      if (isFull()) document.exitFullscreen();
    }
    if (!isFull() || event.ctrlKey || event.metaKey || event.altKey || target.closest(FIELDS)) return;
    const button = pressed(key);
    if (!button) return;
    // Neither JupyterLab, where 1 makes a heading, nor the button that was clicked last gets it.
    event.preventDefault();
    event.stopPropagation();
    target.blur?.();
    if (!event.repeat) button.click();
  };
  const resized = new ResizeObserver(fit);

  // Once it is part of the page.
  const begin = requestAnimationFrame(() =>
    setTimeout(() => {
      room = el.closest(".clickstream-room");
      if (!room) return;
      room.addEventListener("click", onClick);
      // In the window: a click on a picture leaves the focus elsewhere; JupyterLab listens below.
      window.addEventListener("keydown", onKey, true);
      notebook = el.closest(".jp-WindowedPanel-outer");
      scroll();
      for (const each of [room, notebook]) if (each) resized.observe(each); // calls fit at once
    }),
  );
  model.on("msg:custom", scroll);
  return () => {
    cancelAnimationFrame(begin);
    window.removeEventListener("keydown", onKey, true);
    resized.disconnect();
    model.off("msg:custom", scroll);
  };
}

export default { render };
