# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands inside a folder with a Debian, and leave no mount behind.

Everything happens in mount and process namespaces of its own. When the command ends or is killed, its
mounts are gone, and so are all processes that it started.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The only variables of the machine that the command sees: how to reach the network.
_PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Bind:
    """A folder of the machine, seen inside the chroot.

    Attributes
    ----------
    outside
        The folder.
    inside
        Absolute path inside; made if it is missing.
    writable
        Whether the command may write to it.
    """

    outside: Path
    inside: str
    writable: bool = False


# Begin a command line with this, and it ends with the thread that started it, with mounts and children.
APART = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
)
_RESOLVER = Bind(Path("/etc/resolv.conf"), "/etc/resolv.conf")
# The certificates of the machine; not for apt, whose packages fill that folder themselves.
CERTIFICATES = Bind(Path("/etc/ssl/certs"), "/etc/ssl/certs")


def command_inside(
    root: Path,
    command: Sequence[str],
    *,
    binds: Sequence[Bind] = (),
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the command line that runs a command inside the chroot.

    Parameters
    ----------
    root
        The folder with the Debian.
    command
        What to run, with paths inside.
    binds
        Folders to show inside; missing ones are left out.
    variables
        Environment of the command, in addition to the variables for the network.
    """
    quoted = shlex.quote(str(root))
    lines = [
        "set -e",
        f"mount -t proc proc {quoted}/proc",
        # torch counts the processors from it.
        f"mount -t sysfs -o ro sysfs {quoted}/sys",
        f"mount -t tmpfs tmpfs {quoted}/tmp",
        f"mkdir -p {quoted}/dev/shm && mount -t tmpfs tmpfs {quoted}/dev/shm",
    ]
    for bind in (_RESOLVER, *binds):
        if bind.outside.exists():
            lines += _bind(root, bind)
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        **{name: value for name, value in os.environ.items() if _is_passed_on(name)},
        **(variables or {}),
    }
    settings = [f"{name}={value}" for name, value in environment.items()]
    # Not as the first process of the namespace: then programs such as Xvfb could not signal their parent.
    lines += [shlex.join(["chroot", str(root), "env", "-i", *settings, *command]), "exit $?"]
    return [*APART, "sh", "-c", "\n".join(lines)]


def _is_passed_on(name: str) -> bool:
    return name in _PASSED_ON or name.lower() in ("http_proxy", "https_proxy", "no_proxy")


def _bind(root: Path, bind: Bind) -> list[str]:
    outside = shlex.quote(str(bind.outside.resolve()))
    inside = shlex.quote(f"{root}{bind.inside}")
    if bind.outside.is_dir():
        lines = [f"mkdir -p {inside}"]
    else:
        lines = [f"[ -e {inside} ] || {{ rm -f {inside}; touch {inside}; }}"]
    lines.append(f"mount --bind {outside} {inside}")
    if not bind.writable:
        lines.append(f"mount -o remount,bind,ro {inside}")
    return lines
