"""The authorization server: OAuth 2.0, SMART App Launch 2.2 and OpenID Connect. Logic only, no HTTP.

All of it is synchronous and runs in a worker thread (the library that dispatches the grants is, see
docs/decisions/0030); what is to be audited is noted on the Visit and recorded before the answer leaves.
"""
