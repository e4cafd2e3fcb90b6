# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2 and pixels. Everything here runs in the worker process."""
