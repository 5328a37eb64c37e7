"""A desk on a real account: recovery, trading, protection, reconciliation, ownership."""
