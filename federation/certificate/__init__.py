"""The certificate that travels with a model, and how anybody checks it.

`certificate` writes it, `verification` works out again whatever follows from the plan,
`privacy_cost` composes epsilon, `disclosure_statements` says what each party saw. Start with
`certificate`. May import `researcher`, `evaluation`, `syft_code`.
"""
