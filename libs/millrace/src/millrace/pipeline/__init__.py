"""The batched shell around pure handlers: one transaction per batch, whatever fails within it."""
