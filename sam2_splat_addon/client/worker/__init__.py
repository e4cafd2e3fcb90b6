# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAM 2 process seen from outside: started, asked, cancelled, ended."""
