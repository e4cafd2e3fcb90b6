# SPDX-License-Identifier: GPL-3.0-or-later
"""Use files, processes and threads safely: whole files, owned folders, child processes."""
