"""Trains two small encoders in JAX to match images with reports by vlp's InfoNCE, whole steps compiled by jit.

    python examples/python/jax_loss.py

Images and reports are made up: both show a finding, one of 40, through a random mixture of their own, plus noise.
"""
import jax
import jax.numpy as jnp

import vlp.jax

FINDINGS, PIXELS, WORDS, FEATURES, BATCH = 40, 64, 48, 16, 32


def make_batch(key, mixtures):
    """Images [BATCH, PIXELS], reports [BATCH, WORDS], and the finding of each pair, equal for pairs that are alike."""
    keys = jax.random.split(key, 3)
    finding = jax.random.randint(keys[0], (BATCH,), 0, FINDINGS)
    images, reports = (mixture[finding] + 0.5 * jax.random.normal(noise, (BATCH, mixture.shape[1]))
                       for mixture, noise in zip(mixtures, keys[1:]))
    return images, reports, finding


def objective(parameters, images, reports, finding):
    """InfoNCE of the pairs; another pair of the same finding is not held against a pair."""
    return vlp.jax.info_nce(images @ parameters["image"], reports @ parameters["text"], parameters["log_scale"],
                            group=finding, duplicate_policy="ignore")


@jax.jit
def step(parameters, key, mixtures):
    loss, gradients = jax.value_and_grad(objective)(parameters, *make_batch(key, mixtures))
    return loss, jax.tree.map(lambda value, gradient: value - 0.5 * gradient, parameters, gradients)


def main():
    keys = jax.random.split(jax.random.key(0), 5)
    mixtures = [jax.random.normal(keys[0], (FINDINGS, PIXELS)), jax.random.normal(keys[1], (FINDINGS, WORDS))]
    parameters = {"image": 0.1 * jax.random.normal(keys[2], (PIXELS, FEATURES)),
                  "text": 0.1 * jax.random.normal(keys[3], (WORDS, FEATURES)),
                  "log_scale": jnp.log(10.0)}
    for i in range(201):
        loss, parameters = step(parameters, jax.random.fold_in(keys[4], i), mixtures)
        if i % 50 == 0:
            print(f"step {i:3}  loss {loss:.3f}")


if __name__ == "__main__":
    main()
