"""Vision-language pretraining losses and report perturbations: vlp.torch, vlp.jax, vlp.numpy, vlp.text."""
