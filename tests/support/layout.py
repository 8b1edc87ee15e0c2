"""Measure the text on a page: is any of it cut, shortened or under another text?"""

from playwright.sync_api import Locator, Page

_MEASURE = r"""(root) => {
  const faults = [];
  const texts = [];
  const slack = 1.5; // pixels: boxes of text are taller than its letters
  const meets = (a, b) => ({
    left: Math.max(a.left, b.left), right: Math.min(a.right, b.right),
    top: Math.max(a.top, b.top), bottom: Math.min(a.bottom, b.bottom),
  });
  const visible = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !element.closest('.hoverlayer, .modebar, script, style, [hidden]');
  // What an ancestor lets through: its box where it clips, or its clip path.
  const clip = (element) => {
    const style = getComputedStyle(element);
    const [, id] = /url\("?#(.+?)"?\)/.exec(style.clipPath) ?? [];
    const path = id && document.getElementById(id)?.firstElementChild;
    if (path) {
      const { x, y, width, height } = path.getBBox();
      const matrix = element.getScreenCTM();
      const corner = (a, b) => new DOMPoint(a, b).matrixTransform(matrix);
      const [from, to] = [corner(x, y), corner(x + width, y + height)];
      return { left: from.x, top: from.y, right: to.x, bottom: to.y };
    }
    const clips = element instanceof SVGSVGElement || style.overflowX !== 'visible';
    return clips && style.display !== 'inline' ? element.getBoundingClientRect() : null;
  };
  const inspect = (owner, content, boxes) => {
    for (const box of boxes) {
      if (box.width < 1 || box.height < 1) continue;
      let room = root.getBoundingClientRect();
      for (let each = owner; each && each !== root.parentElement; each = each.parentElement) {
        const its = clip(each);
        if (its) room = meets(room, its);
      }
      for (const [side, over] of Object.entries({
        left: room.left - box.left, right: box.right - room.right,
        top: room.top - box.top, bottom: box.bottom - room.bottom,
      })) {
        if (over > slack) faults.push(`"${content}" is cut by ${Math.round(over)} px: ${side}`);
      }
      texts.push({ content, box });
    }
    // After a space it says that something goes on.
    if (/\S…/.test(content)) faults.push(`"${content}" is shortened`);
    if (owner.closest('.xtick') && /rotate\((?!0[,)])/.test(owner.getAttribute('transform') ?? ''))
      faults.push(`"${content}" is not horizontal`);
    if (owner instanceof HTMLElement && owner.scrollWidth > owner.clientWidth + slack &&
        getComputedStyle(owner).overflowX !== 'visible')
      faults.push(`"${content}" does not fit`);
  };
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const drawn = new Set(); // a text of an SVG may have parts
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const owner = node.parentElement.closest('text') ?? node.parentElement;
    const content = (owner.closest('text') ? owner : node).textContent.trim();
    if (!content || drawn.has(owner) || !visible(owner)) continue;
    if (owner instanceof SVGElement) {
      drawn.add(owner);
      inspect(owner, content, [owner.getBoundingClientRect()]);
    } else {
      const range = document.createRange();
      range.selectNodeContents(node);
      inspect(owner, content, [...range.getClientRects()]);
    }
  }
  texts.forEach(({ content, box }, place) => {
    for (const other of texts.slice(place + 1)) {
      const both = meets(box, other.box);
      // Lines that touch are readable; letters take about two thirds of a line's height.
      const depth = 0.3 * Math.min(box.height, other.box.height);
      if (both.right - both.left > slack && both.bottom - both.top > depth)
        faults.push(`"${content}" and "${other.content}" overlap`);
    }
  });
  return faults;
}"""


def faults_of_text(page: Page, root: str | Locator) -> list[str]:
    """List every text below an element that is cut, shortened, on its side or under another one.

    A text is cut if it leaves the element itself, an SVG, or any box that clips or scrolls. Only
    the labels below an x axis must be horizontal. Hover texts are not measured.

    Args:
        page: measured as it is, at the size of its window.
        root: the element, or a selector of exactly one.
    """
    element = page.locator(root) if isinstance(root, str) else root
    found: list[str] = element.evaluate(_MEASURE)
    return found
