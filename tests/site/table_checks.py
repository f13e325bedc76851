"""Whether a reader can see all of every table: no cell cut off, no number broken over two lines."""

from __future__ import annotations

from playwright.sync_api import Page

NARROW = 480  # CSS pixels; only in a window as narrow as this may a table scroll in its own box

TABLES = r"""narrow => {
  const NUMBER = /(?<![\w-])[+\u2212-]?\d+(?:[.,\u202f]\d+)*(?:e[+-]?\d+)?%?/g;
  const style = element => getComputedStyle(element);
  const words = element => element.textContent.trim().replace(/\s+/g, ' ').slice(0, 60);

  // The text of a cell, without formulas, which are boxes of their own and never broken.
  const texts = cell => {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) found.push(walker.currentNode);
    return found.filter(text => text.data.trim() && !text.parentElement.closest('mjx-container, script, style'));
  };
  const boxes = (from, start, to, end) => {
    const range = document.createRange();
    range.setStart(from, start);
    range.setEnd(to, end);
    return [...range.getClientRects()].filter(box => box.width && box.height);
  };

  const broken = cell => {
    const pieces = texts(cell);
    const at = offset => {
      for (const piece of pieces) {
        if (offset <= piece.length) return [piece, offset];
        offset -= piece.length;
      }
    };
    return [...pieces.map(piece => piece.data).join('').matchAll(NUMBER)].filter(number => {
      const parts = boxes(...at(number.index), ...at(number.index + number[0].length));
      return parts.some(part => part.top >= parts[0].bottom);
    }).map(number => number[0]);
  };

  // A shadow that stays at the edge of the box while what covers it scrolls away, and nothing opaque over it.
  const tells = (box, cell) => {
    if (!/local.*scroll|scroll.*local/.test(style(box).backgroundAttachment)) return false;
    for (let over = cell; over !== box; over = over.parentElement)
      if (!/rgba|\/|transparent/.test(style(over).backgroundColor)) return false;
    return true;
  };
  const hiding = cell => {
    const shown = [...texts(cell).flatMap(text => boxes(text, 0, text, text.length)),
                   ...[...cell.querySelectorAll('mjx-container, img, svg')].map(each => each.getBoundingClientRect())];
    let left = Math.min(...shown.map(box => box.left)), right = Math.max(...shown.map(box => box.right));
    for (let box = cell; box !== document.body; box = box.parentElement) {
      const edge = box.getBoundingClientRect(), {overflowX} = style(box);
      if (overflowX === 'visible' || (left >= edge.left - 1 && right <= edge.right + 1)) continue;
      if (!/auto|scroll/.test(overflowX) || box.scrollWidth <= box.clientWidth) return 'cut off';
      if (innerWidth > narrow) return 'to be scrolled to';
      if (!tells(box, cell)) return 'to be scrolled to, and no shadow says so';
      ({left, right} = edge);
    }
    return right > document.documentElement.clientWidth + 1 || left < -1 ? 'outside the window' : '';
  };

  const folded = [...document.querySelectorAll('details:not([open])')];
  folded.forEach(details => details.open = true);
  const problems = [...document.querySelectorAll('table')].flatMap((table, i) => {
    const name = `table ${i + 1} at ${innerWidth}`;
    if (!table.getClientRects().length) return [`${name}: is not shown`];
    const cells = [...table.querySelectorAll('th, td')];
    const hidden = Object.entries(Object.groupBy(cells.filter(hiding), hiding));
    return [
      ...hidden.map(([how, some]) => `${name}: ${some.length} cells ${how}, the first "${words(some[0])}"`),
      ...cells.flatMap(cell => broken(cell).map(number => `${name}: ${number} broken in "${words(cell)}"`)),
    ];
  });
  folded.forEach(details => details.open = false);
  return problems;
}"""


def table_problems(page: Page) -> list[str]:
    """Find cells of which something is hidden, and numbers broken over two lines, at the window's present width.

    What a table hides must be within the reader's reach: in a narrow window it may scroll in its own box, where a
    shadow says so. Tables that are folded away are unfolded for the time of the look.
    """
    return page.evaluate(TABLES, NARROW)
