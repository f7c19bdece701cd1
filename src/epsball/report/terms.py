"""The words of a page, one line of explanation each."""

TERMS = {
    "N(x)": "The perturbation set of an example x: all legal inputs within the radius of x.",
    "ball": "Norm and radius of N(x); radii are in pixels of [0, 1].",
    "certified accuracy": "Share of examples that are right and have a proof that no point of N(x) changes that.",
    "robust accuracy": "Share of examples that are right everywhere in N(x); known from both sides, seldom exactly.",
    "accuracy under attack": "Share of examples that are right and not broken yet: an upper end of robust accuracy.",
    "natural accuracy": "Share of examples that are right without an attack.",
    "1 - optimal adversarial risk": "No classifier at all can be right on more of these examples everywhere in N(x), "
    "since examples of different classes share points.",
    "interval": "An exact 95% interval (Clopper-Pearson) for the source from which the examples were drawn.",
    "witness": "A point of N(x) that the deployed model gets wrong, checked exactly.",
    "margin": "Logit of the true class minus the largest other one; at 0 or below the model is wrong.",
    "worst margin": "The lowest margin that was found in N(x); of a certified example, the proved lower bound.",
    "misclassified": "Wrong without an attack.",
    "broken": "Right, with a witness in N(x).",
    "certified": "Right, with a proof that there is no witness.",
    "undecided": "Right, neither broken nor certified: nobody knows.",
    "invalid": "The model gave no finite logits; counts against every lower end and for every upper end.",
    "natural risk": "Share of errors without an attack.",
    "boundary risk": "Share of examples that are right and can be flipped in N(x): attacks bound it from below, proofs "
    "from above.",
    "robust risk": "Natural risk plus boundary risk.",
    "gradient masking": "Gradients that lead attacks astray, so that a model looks robust and is not.",
    "power": "Share of adversarial points, planted where their place is known, that the attack finds.",
    "severity": "What a check calls for: nothing, suspect or masked.",
    "inconclusive": "Nothing could be measured, or what was measured decides nothing: not a pass.",
    "landscape": "The margin along directions from an example, beside what its gradient predicts.",
    "limit": "What the data allow any classifier at this radius.",
    "given up": "No optimal classifier can be right on it: it shares points of N(x) with examples of other classes.",
    "similarity": "Centred kernel alignment (CKA) of two models' representations: 1 is alike, 0 unrelated.",
    "pass": "One example's forward, or one backward to its input.",
    "overhead": "Passes that search nothing: checks, verification, padding of batches.",
    "McNemar's test": "Exact test on the examples that only one of two runs counts; p-values are adjusted by Holm.",
    "float32 semantics": "Certificates hold of the deployed float32 network, any order of summation.",
    "real semantics": "Certificates hold of the real-valued function of the stored weights.",
    "manifest": "The hash that stands for every file of the run; epsball verify-run checks it.",
    "effort": "How hard the attack and the certificates tried: quick, standard or full.",
}
"""Explanation by term."""


def anchor(term: str) -> str:
    """Return the id of a term.

    Examples
    --------
    >>> anchor("N(x)"), anchor("natural accuracy")
    ('term-n-x', 'term-natural-accuracy')
    """
    words = "".join(letter if letter.isalnum() else " " for letter in term.lower()).split()
    return "-".join(["term", *words])
