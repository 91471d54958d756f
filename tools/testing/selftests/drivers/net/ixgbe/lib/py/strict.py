# SPDX-License-Identifier: GPL-2.0

""" What becomes of a test whose machine does not offer what it needs. """

import os

from net.lib.py import KsftFailEx, KsftSkipEx

# The lab says that its machine offers everything.
STRICT = bool(os.environ.get("KSFT_STRICT"))

# Seconds to wait for what always comes. A machine that is emulated beside others was seen to stand for
# seconds; what does not come at all is found late, but found.
PATIENCE = 60


def unmet(why):
    """
    To be raised where the machine lacks something: a failure if KSFT_STRICT is set, else a skip.
    What a driver does not have on purpose is a skip in any case.
    """
    return (KsftFailEx if STRICT else KsftSkipEx)(why)
