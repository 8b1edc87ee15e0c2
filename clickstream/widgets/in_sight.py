"""A widget that shows nothing and scrolls the output around it into sight."""

from __future__ import annotations

import anywidget


class InSight(anywidget.AnyWidget):
    """Scrolls its output to the top of the notebook: when it is displayed, and when told to.

    JupyterLab scrolls to the next cell when a cell is run, and would leave a high output behind.
    """

    _esm = """
export default {
  render({ model, el }) {
    el.style.display = "none";
    const scroll = () => {
      const output = el.closest(".jp-OutputArea");
      if (!output) return; // another front end, or a view that was removed
      // The browser would rather keep the active cell in its place when text appears above it.
      output.closest(".jp-WindowedPanel-outer").style.overflowAnchor = "none";
      output.scrollIntoView();
    };
    requestAnimationFrame(() => setTimeout(scroll)); // once it is part of the page
    model.on("msg:custom", scroll);
    return () => model.off("msg:custom", scroll);
  },
};
"""

    def scroll(self) -> None:
        """Scroll again, wherever it is displayed."""
        self.send({})
