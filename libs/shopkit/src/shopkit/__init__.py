"""What the shop's services share. It knows the contract, and no service."""

__version__ = "0.1.0"
