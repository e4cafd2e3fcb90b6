# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop files onto a window, as a file manager does, or a link, as a browser does. With python-xlib.

python3 drop.py X Y FILE...
python3 drop.py X Y http://ADDRESS

The place is in pixels of the screen, from its upper left corner. The exit code is 0 after the window has
taken the files. If it refuses them or does not answer in time, a sentence says so.
"""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path

from Xlib import X, Xatom, display
from Xlib.protocol import event

_VERSION = 5
_PATIENCE = 60.0


class Source:
    """The source of the drag: an invisible window.

    Parameters
    ----------
    x, y
        Where to, pixels of the screen.
    dragged
        Files, or one address.
    """

    def __init__(self, x: int, y: int, dragged: list[str]) -> None:
        self.display = display.Display()
        root = self.display.screen().root
        self.x, self.y = x, y
        if dragged[0].startswith("http"):
            self.kind, text = "text/plain", dragged[0]
        else:
            uris = [Path(path).absolute().as_uri() for path in dragged]
            self.kind, text = "text/uri-list", "".join(f"{uri}\r\n" for uri in uris)
        self.content = text.encode()
        self.window = root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
        self.target = self._aware(root)
        self.window.set_selection_owner(self._atom("XdndSelection"), X.CurrentTime)

    def drop(self) -> None:
        """Enter the target window, move to the place, and drop there."""
        self._tell("XdndEnter", _VERSION << 24, self._atom(self.kind), 0, 0)
        place = self.x << 16 | self.y
        self._tell("XdndPosition", 0, place, X.CurrentTime, self._atom("XdndActionCopy"))
        status = self._answer("XdndStatus")
        if not status[1] & 1:
            sys.exit("The window does not want the files.")
        self._tell("XdndDrop", 0, X.CurrentTime, 0, 0)
        self._answer("XdndFinished")

    def _atom(self, name: str) -> int:
        return int(self.display.intern_atom(name))

    def _aware(self, root: object) -> object:
        """The window that takes drops: a child of the root, because there is no window manager."""
        for window in root.query_tree().children:  # type: ignore[attr-defined]
            if window.get_full_property(self._atom("XdndAware"), Xatom.ATOM) is not None:
                return window
        sys.exit("No window takes files.")

    def _tell(self, message: str, *data: int) -> None:
        told = event.ClientMessage(
            window=self.target,
            client_type=self._atom(message),
            data=(32, [self.window.id, *data]),
        )
        self.target.send_event(told)  # type: ignore[attr-defined]
        self.display.flush()

    def _answer(self, message: str) -> list[int]:
        """Wait for a message of the target, and give it the files if it asks for them."""
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up:
            if not self.display.pending_events():
                select.select([self.display.fileno()], [], [], 0.2)
                continue
            got = self.display.next_event()
            if got.type == X.SelectionRequest:
                self._give(got)
            elif got.type == X.ClientMessage and got.client_type == self._atom(message):
                return list(got.data[1])
        sys.exit(f"The window sends no {message}.")

    def _give(self, asked: event.SelectionRequest) -> None:
        asked.requestor.change_property(asked.property, asked.target, 8, self.content)
        given = event.SelectionNotify(
            time=asked.time,
            requestor=asked.requestor,
            selection=asked.selection,
            target=asked.target,
            property=asked.property,
        )
        asked.requestor.send_event(given)
        self.display.flush()


if __name__ == "__main__":
    left, top, *what = sys.argv[1:]
    Source(int(left), int(top), what).drop()
