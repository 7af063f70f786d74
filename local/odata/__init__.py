"""A small station that speaks OData, as ESA's AUXIP interface does."""
