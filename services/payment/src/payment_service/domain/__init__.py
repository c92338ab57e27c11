"""The rules of a payment: states, events and calls as plain values."""
