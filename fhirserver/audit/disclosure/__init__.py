"""What the audit log tells people: facts of events, reports and how they are written, incidents, alert rules. Pure."""
