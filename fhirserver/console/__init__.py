"""Pages for people: sign-in, consent, apps. Plain HTML that works without scripts, in Portuguese and English."""
