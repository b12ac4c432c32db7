"""The interactions of the RESTful API, one module each."""
