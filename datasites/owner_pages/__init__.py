"""The owner's pages in a browser, for who decides without a notebook: `consilium owner`.

`page_access` lets one browser in, `pending_decisions` keeps what was shown until it is signed or dropped. The
same cards as in a notebook; each decision goes through `owner.Owner`, whose signature alone counts for the
vault. Start at `pages.build`. May import `owner`, `review` and `syft_code`.
"""
