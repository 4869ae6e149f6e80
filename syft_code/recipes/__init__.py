"""A model and a loss as data: what a researcher sends instead of code.

Start at `recipe.Recipe`; `layers` are the known layers, `architectures` stack them, `local_norms`
says which layers a hospital keeps to itself. May import `syft_code`'s shared files only.
"""
