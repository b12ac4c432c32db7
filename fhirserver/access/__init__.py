"""Who asks, what they may do, and the authorization server."""
