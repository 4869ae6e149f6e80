"""The owner's pages in a browser, for who decides without a notebook: `consilium owner`.

`doorway` lets one browser in, `decisions_to_confirm` keeps what was shown until it is signed or dropped. The
same cards as in a notebook; each decision goes through `owner.Owner`, whose signature alone counts for the
vault. Start at `pages.build`. May import `owner`, `review` and `syft_code`.
"""
