"""Search: values and parameters on both sides, from a resource to its index and from a query to its tree."""
