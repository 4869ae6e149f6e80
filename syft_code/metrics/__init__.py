"""What an evaluation says: sums over held-out patients, their sensitivity, and the figures in them.

`evaluation_sums` asks a network, patient by patient; `scoring` and `segmentation` read the noised
sums without torch, `volumes` compares contours. May import `models` and `recipes`. Start with
`scoring.py`.
"""
