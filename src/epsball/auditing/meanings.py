"""What the verdicts and the columns of an audit's evidence mean: what `epsball explain` shows."""

VERDICTS = {
    "misclassified": "The example itself is not classified rightly: its margin z_y - max over j != y of z_j is at "
    "most 0.",
    "broken": "A verified witness is there: a point x' of N(x), exactly, that the deployed model does not classify "
    "rightly.",
    "certified": "A certificate says that every point of N(x) gets the label: a lower bound of the margin on N(x) "
    "above 0.",
    "undecided": "Neither a witness nor a certificate was found at this effort; more effort may decide it.",
    "invalid": "The model failed on it (logits that are NaN or infinite); it counts against every lower end and "
    "for every upper one. The column invalid.reason says why.",
}
"""The verdicts of examples; their names are `epsball.auditing.evidence.VERDICTS`."""

COLUMNS = {
    "index": "Position of the example in the source of the data.",
    "label": "Its label y.",
    "prediction": "The class of the largest logit at the example, by the canonical pass.",
    "verdict": "One of misclassified, broken, certified, undecided, invalid.",
    "invalid.reason": "Why the model gave no verdict; empty for the others.",
    "natural.prediction": "The class of the largest logit at the example; stands in the evidence as prediction.",
    "natural.margin": "z_y - max over j != y of z_j at the example, by the canonical pass.",
    "natural.correct": "Whether natural.margin > 0.",
    "natural.failed": "Whether the logits at the example are NaN or infinite.",
    "certificate.certified": "Whether the example is stable and its prediction is its label.",
    "certificate.stable": "Whether certificate.margin > 0: no point of N(x) gets another class than the prediction.",
    "certificate.whole": "Whether every method was run; examples that a short attack breaks get the cheap ones, "
    "but for some that check the verifier.",
    "certificate.criterion": "Whether the lower bound of z_p lies above the upper bounds of all other logits, p the "
    "prediction: sufficient for stable, and weaker.",
    "certificate.margin": "The largest lower bound, over the methods run, of min over j != p of z_p - z_j on N(x), "
    "p the prediction; NaN where no method was run.",
    "certificate.method": "The method whose bound first made the example stable.",
    "certificate.semantics": "What the bound is about: float32, the deployed network; real, the function of its "
    "weights.",
    "certificate.replayable": "Whether the certificate is a file that the independent checker replays.",
    "certificate.passes": "What the bounds of the example cost, in passes through the model.",
    "attack.broken": "Whether the attack found a verified witness; true for misclassified examples.",
    "attack.whole": "Whether the example got the whole attack; most certified ones get a short one.",
    "attack.margin": "The lowest margin at a verified point of N(x).",
    "attack.distance": "Distance of the nearest verified adversarial point, in the ball's norm; NaN where there is "
    "none.",
    "attack.by": "The attack, or the part of a composed one, that found the first witness.",
    "attack.forwards": "Forward passes that the attack spent on the example.",
    "attack.backwards": "Backward passes that the attack spent on the example.",
    "attack.gradients": "zero or not finite where most gradients of a part of the attack were.",
    "attack.notes": "For examples that were searched by surrogate gradients, what of.",
    "limit.hard": "What every classifier must do in the worst case: safe, in no optimum given up; given up, in "
    "all; either.",
    "diagnosis.examined": "Whether the diagnosis of gradient masking examined the example.",
    "diagnosis.broken": "Whether the diagnosis found a verified witness that the attack had not.",
    "diagnosis.by": "What found that witness.",
    "diagnosis.margin": "The lowest margin at a verified point that the diagnosis found.",
}
"""The columns of the evidence. Each method of certificates has one more, certificate.METHOD.margin, its own bound."""

OF_A_METHOD = (
    "The lower bound by {} of min over j != p of z_p - z_j on N(x), p the prediction; NaN where it was not run."
)
"""The columns certificate.METHOD.margin."""
