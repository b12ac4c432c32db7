"""One module per type of search parameter: how its search text is read, and what is stored for it."""
