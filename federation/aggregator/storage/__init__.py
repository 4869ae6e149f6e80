"""What an aggregator must not forget: shares as files, the rest in one SQLite database.

Start at `store`; `db_schema` has every statement, `vector_files` and `upload_buffer` the bytes,
`summation` adds up what lies here. May import `transport`, `syft_code`.
"""
