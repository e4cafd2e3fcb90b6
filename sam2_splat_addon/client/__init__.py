# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the worker, talk to it, and install what it needs."""
