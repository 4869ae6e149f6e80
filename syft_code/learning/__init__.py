"""DP-SGD at one hospital, and its levers: clip, augmentation, proximal terms, distillation.

Start at `dp_sgd.train` (Algorithm 1), then `per_sample_gradients` and `per_sample_layers`: a
gradient for each patient apart. May import `models`, `plans`, `privacy`, `recipes`.
"""
