"""Background work: leases, queue, outbox."""
