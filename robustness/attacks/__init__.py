"""Attacks: `Attacker` in `robustness.attacks.attacker` runs any of them.

Each algorithm is a module: `pgd` (FGSM and PGD), `apgd` (Auto-PGD), `fab`, `square`; their settings
stand in `robustness.config`. An attack is a pure function of model, batch, threat model, settings
and seeds; batches of any size give the same images. The caller verifies the ball
(`robustness.ball.inside_ball`).
"""
