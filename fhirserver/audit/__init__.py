"""Every access recorded: events, ledger, seal, verification, disclosure."""
