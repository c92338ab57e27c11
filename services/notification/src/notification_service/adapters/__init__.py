"""Notification's read models and mailers."""
