"""The payment service at its border: requests in, answers out."""
