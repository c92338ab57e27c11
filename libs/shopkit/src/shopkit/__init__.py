"""What the shop's services share. It knows the contract, and no service."""
