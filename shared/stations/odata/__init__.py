"""What an OData station (AUXIP, CDSE) is asked for, and what its products become."""
