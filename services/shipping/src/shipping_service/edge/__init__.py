"""The shipping service at its border: requests in, answers out."""
