"""Somebody without a mouse: presses keys, and sees where the focus is after each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Where the focus is: whether that matches, what it is, and why nobody could see it there (empty: it is to be seen).
LOOK = """selector => {
  const node = document.activeElement;
  if (node === document.body) return { is: false, what: '', hidden: '' };
  const box = node.getBoundingClientRect();
  const ring = getComputedStyle(node.querySelector(':scope > rect') ?? node);
  const hasRing = node.matches('.box') ? parseFloat(ring.strokeWidth) >= 3
    : ring.outlineStyle !== 'none' && parseFloat(ring.outlineWidth) >= 2;
  const shares = [0.1, 0.3, 0.5, 0.7, 0.9];
  const isOnTop = shares.some(x => shares.some(y => {
    const found = document.elementFromPoint(box.left + x * box.width, box.top + y * box.height);
    return found && (node.contains(found) || found.contains(node));
  }));
  return {
    is: node.matches(selector), what: node.outerHTML.slice(0, 160),
    hidden: [hasRing ? '' : 'no ring', isOnTop ? '' : 'covered or out of view'].filter(Boolean).join(', '),
  };
}"""
# Whatever can be used, and is there: `seen` is what had the focus.
CONTROLS = "button, a[href], input, select, textarea, summary, [role=button], [tabindex='0']"
MISSED = """controls => [...document.querySelectorAll(controls)]
  .filter(node => node.checkVisibility({ visibilityProperty: true }) && !node.closest('[inert]'))
  .filter(node => !window.seen.has(node)).map(node => node.outerHTML.slice(0, 160))"""
TRACK = "() => { window.seen = new Set(); addEventListener('focusin', event => window.seen.add(event.target), true); }"


class Hands:
    """Keys, and nothing else. What has the focus must always be to be seen: that is asserted at each step."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        """Keys by Playwright's names."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """As it is."""
        self.page.keyboard.type(text)

    def is_at(self, selector: str) -> bool:
        """Whether the focus is there. AssertionError when it is somewhere where nobody sees it."""
        seen = self.page.evaluate(LOOK, selector)
        assert not seen["hidden"], f"the focus is not to be seen ({seen['hidden']}): {seen['what']}"
        return bool(seen["is"])

    def come_to(self, selector: str) -> None:
        """Wait until the focus is there by itself, and to be seen."""

        def is_there() -> bool:
            seen = self.page.evaluate(LOOK, selector)
            return bool(seen["is"] and not seen["hidden"])

        try:
            wait_until(is_there, 5)
        except AssertionError as error:
            raise AssertionError(
                f"the focus does not come to {selector}; it is at {self.where or 'nothing'}"
            ) from error

    @property
    def where(self) -> str:
        """What has the focus."""
        return str(self.page.evaluate(LOOK, "*")["what"])

    def go(self, selector: str, key: str = "Tab", most: int = 120) -> None:
        """Press this key until the focus is there."""
        self.page.locator(selector).first.wait_for()
        for _ in range(most):
            if self.is_at(selector):
                return
            self.press(key)
        raise AssertionError(f"{key} does not lead to {selector}; the focus is at {self.where}")

    def find(self, text: str, selector: str) -> None:
        """By the filter to the card or row of this text."""
        self.press("/")
        self.come_to("#filter")
        self.type(text)
        self.page.locator(selector).first.wait_for()
        self.press("Enter")
        self.come_to(selector)

    def unfilter(self) -> None:
        """Show everything again."""
        self.press("/", "Escape")

    def do(
        self, action: str, where: str = "#drawer", *, text: str = "", tick: bool = False, key: str = "Enter"
    ) -> None:
        """Press the button of an action, and answer its question where it asks one."""
        self.go(f"{where} [data-action='{action}']")
        self.press(key)
        if not self.page.evaluate("name => import('/page/actions.js').then(m => 'title' in m.ACTIONS[name])", action):
            return
        self.page.wait_for_selector("#ask[open]")
        if text:
            self.go("#ask-field")
            self.type(text)
        if tick:
            self.go("#ask-choice")
            self.press("Space")
        self.go("#ask [type=submit]")
        self.press("Enter")
        self.page.wait_for_selector("#ask", state="hidden")

    def leave(self, back_at: str) -> None:
        """Close the drawer; the focus is where it was."""
        self.press("Escape")
        self.page.wait_for_selector("#drawer", state="hidden")
        self.come_to(back_at)
