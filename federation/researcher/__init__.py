"""The researcher at the hospitals: log in, plan, submit, wait, train round by round.

Start at `session.Researcher`, then `study.Study`: `rounds` runs a study, `relay` one round at all
hospitals, `hospital_round` at one, `collector` adds up the aggregators' sums. `syft_client`
speaks PySyft, `blob_client` plain HTTP beside it. May import `strategy`, `transport`, `storage`, `policies`, `syft_code`.
"""
