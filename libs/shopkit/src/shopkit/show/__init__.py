"""How the shop's answers are shown to people: words, money, times, tables, and a saga's steps as they happen."""
