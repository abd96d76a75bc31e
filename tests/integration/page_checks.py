"""What makes a page usable by everybody, asserted in the browser: names, order, contrast, structure, width.

What the checkers of this kind test first, without a further library: WCAG 2.2 AA's 1.1.1, 1.3.1, 1.4.3, 1.4.10, 2.1.1,
2.4.3, 2.4.7 and 4.1.2, as far as a program can see them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

CONTROLS = "button, a[href], input, select, textarea, summary, [tabindex]:not([tabindex='-1'])"

VISIBLE = """
const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
  node.getBoundingClientRect().width > 0;
"""

NAMES = (
    """(controls) => { """
    + VISIBLE
    + """
  const name = (node) => {
    const by = node.getAttribute("aria-labelledby");
    if (by) return by.split(/\\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    const label = node.getAttribute("aria-label") ?? [...(node.labels ?? [])].map((one) => one.textContent).join(" ");
    return label.trim() || (["BUTTON", "A", "SUMMARY"].includes(node.tagName) ? node.textContent : "") || "";
  };
  return [...document.querySelectorAll(controls)].filter(shown).filter((node) => !name(node).trim())
    .map((node) => node.outerHTML.slice(0, 120));
}"""
)

ORDER = (
    """(controls) => { """
    + VISIBLE
    + """
  const radios = new Set();
  return [...document.querySelectorAll(controls)].filter((node) => shown(node) && !node.disabled).filter((node) => {
    if (node.type !== "radio") return true;
    const checked = document.querySelector(`input[name="${node.name}"]:checked`);
    return checked ? checked === node : !radios.has(node.name) && radios.add(node.name);
  }).map((node, n) => { node.dataset.order = n; return node.id || node.textContent.trim().slice(0, 40) || node.tagName; });
}"""
)

CONTRAST = (
    """() => { """
    + VISIBLE
    + """
  const parse = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    const srgb = text.startsWith("color(");
    return { rgb: parts.slice(0, 3).map((part) => (srgb ? part * 255 : part)), alpha: parts[3] ?? 1 };
  };
  const over = (top, under) => top.rgb.map((part, n) => part * top.alpha + under[n] * (1 - top.alpha));
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => { const v = part / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const poor = [];
  let looked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !shown(node) || node.closest(".hidden, .skip, option, script") || node.disabled) continue;
    const style = getComputedStyle(node);
    const under = ground(node);
    const inSvg = node.namespaceURI.endsWith("svg");
    const ink = parse(inSvg ? style.fill : style.color);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const found = ratio(over(ink, under), under);
    looked += 1;
    if (found < (large ? 3 : 4.5)) poor.push(`${found.toFixed(2)} ${node.tagName}.${node.className.baseVal ?? node.className}: ${walker.currentNode.textContent.trim().slice(0, 40)}`);
  }
  return { poor, looked };
}"""
)

STRUCTURE = """() => ({
  lang: document.documentElement.lang,
  title: document.title,
  h1: document.querySelectorAll("h1").length,
  levels: [...document.querySelectorAll("h1, h2, h3")].filter((node) => !node.closest("dialog")).map((node) => Number(node.tagName[1])),
  landmarks: ["header", "main", "footer", "nav", "[role=search]"].filter((one) => !document.querySelector(one)),
  sections: [...document.querySelectorAll("section")].filter((one) => !document.getElementById(one.getAttribute("aria-labelledby"))).length,
  pictures: [...document.querySelectorAll("img")].filter((one) => !one.hasAttribute("alt")).length,
  graphics: [...document.querySelectorAll("svg")].filter((one) => one.getAttribute("aria-hidden") !== "true" && !one.getAttribute("role")).length,
  ids: [...document.querySelectorAll("[id]")].map((one) => one.id).filter((id, n, all) => all.indexOf(id) !== n),
  wide: document.documentElement.scrollWidth - window.innerWidth,
  small: [...document.querySelectorAll("button, select")].filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 24).map((one) => one.outerHTML.slice(0, 80)),
})"""

FOCUS = """() => {
  const node = document.activeElement;
  const style = getComputedStyle(node);
  return [node.dataset.order ?? null, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0];
}"""


def check_accessibility(page: Any) -> None:
    """Assert that a page can be read and used with eyes, ears or a keyboard alone.

    Args:
        page: of Playwright, loaded.
    """
    assert page.evaluate(NAMES, CONTROLS) == [], "controls without a name"

    wanted = page.evaluate(ORDER, CONTROLS)
    assert len(wanted) > 20
    page.evaluate("() => { document.activeElement.blur(); window.getSelection().removeAllRanges(); }")
    reached: list[int] = []
    for _ in range(len(wanted) + 30):  # a date's field has parts, each of which Tab stops at
        page.keyboard.press("Tab")
        order, is_marked = page.evaluate(FOCUS)
        if order is None:
            break
        assert is_marked, f"{wanted[int(order)]} has the focus, and nothing shows it"
        if not reached or reached[-1] != int(order):
            reached.append(int(order))
    missed = [wanted[n] for n in range(len(wanted)) if n not in reached]
    assert not missed, f"Tab does not reach {missed}"
    assert reached == sorted(reached), "Tab jumps about"

    contrast = page.evaluate(CONTRAST)
    assert contrast["looked"] > 50
    assert contrast["poor"] == []

    found = page.evaluate(STRUCTURE)
    levels = found.pop("levels")
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels)), levels
    assert found.pop("wide") <= 0, "it is wider than the window"
    assert found == {
        "lang": "en",
        "title": "Your recordings – modicum",
        "h1": 1,
        "landmarks": [],
        "sections": 0,
        "pictures": 0,
        "graphics": 0,
        "ids": [],
        "small": [],
    }
