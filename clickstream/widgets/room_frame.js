// The smallest and the largest height of the room, in pixels.
const [LOWEST, HIGHEST] = [480, 1400];
// So close to the top of the window, in pixels, it was meant to be at the top.
const IN_SIGHT = 100;

function render({ model, el }) {
  el.style.display = "none";
  let room = null;
  let notebook = null; // what scrolls; null in another front end

  const scroll = () => {
    if (!notebook) return;
    // The browser would rather keep the active cell in its place when text appears above it.
    notebook.style.overflowAnchor = "none";
    el.closest(".jp-OutputArea").scrollIntoView();
  };
  const fit = () => {
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
  };
  const onKey = ({ key }) => {
    if (key !== "Escape") return;
    close();
    if (room.querySelector(".clickstream-is-open")) model.send({ key }); // a drawer is the kernel's
  };
  const resized = new ResizeObserver(fit);

  // Once it is part of the page.
  const begin = requestAnimationFrame(() =>
    setTimeout(() => {
      room = el.closest(".clickstream-room");
      if (!room) return;
      room.addEventListener("click", onClick);
      document.addEventListener("keydown", onKey); // a click on a picture leaves the focus elsewhere
      notebook = el.closest(".jp-WindowedPanel-outer");
      if (!notebook) return;
      scroll();
      resized.observe(notebook); // calls fit at once
    }),
  );
  model.on("msg:custom", scroll);
  return () => {
    cancelAnimationFrame(begin);
    document.removeEventListener("keydown", onKey);
    resized.disconnect();
    model.off("msg:custom", scroll);
  };
}

export default { render };
