"""DP-SGD and what changes a step of it: augmentation, adaptive clipping, FedProx, distillation.

    dp_sgd ─▶ batches ─▶ augmentation, distillation
           ─▶ per_sample_gradients ─▶ per_sample_layers     or `opacus_gradients`, if a plan says so

Knows no rounds and no other hospital. May import `models`, `plans`, `privacy` and `recipes`. Start
with `dp_sgd.py`.
"""
