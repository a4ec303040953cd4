"""What mlopt needs to know of the frameworks that models are written in."""
