# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAM 2 process seen from outside: start it, ask it, cancel a request, end it."""
