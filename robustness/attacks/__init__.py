"""Attacks: `Attacker` in `robustness.attacks.attacker` runs any of them by name.

Each algorithm is a module: `pgd` (FGSM and PGD), `apgd` (Auto-PGD), `fab`, `square`. An attack is a
pure function of model, batch, threat model, parameters and seeds; batches of any size give the same
images. The caller verifies the ball (`robustness.ball.inside_ball`).
"""
