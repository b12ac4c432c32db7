"""Building the tables of r4/tables from the published definitions package. Not used while serving."""
