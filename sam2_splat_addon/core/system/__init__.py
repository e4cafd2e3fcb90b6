# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, processes and threads, used with care: whole files, owned folders, child processes."""
