"""A trained model on files that it has never seen: whoever was given it asks, on their own machine.

`trained_model.load` holds a model against its certificate and gives its network; `predictions` writes what
it says. Needs the readers of a hospital, so that a file is read as in training. May import
`datasites.data.readers`, `certificate`, `evaluation`, `reporting`, `syft_code`. Start with `trained_model`.
"""
