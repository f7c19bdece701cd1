"""Mistakes that epsball recognises, each with a name: why its rule exists, and how it is mended.

An error's message states fact, rule and fix in a sentence or two; `epsball explain NAME` and the page `errors/NAME`
of the documentation say more. A mistake is recognised by how its message begins or by its class of error.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A mistake with a page of its own.

    Parameters
    ----------
    title
        What happened, in a few words.
    says
        A pattern that its messages contain.
    why
        Why the rule exists.
    fix
        What to do, in the order in which to try it.
    """

    title: str
    says: str
    why: str
    fix: tuple[str, ...]


MISTAKES: dict[str, Mistake] = {
    "probabilities": Mistake(
        title="The model returns probabilities",
        says=r"probabilities, not logits",
        why="Cross-entropy of a softmax output is nearly flat where the model is confident, so gradients "
        "vanish and an attack reports robustness that is not there.",
        fix=(
            "Return what goes into the softmax.",
            "Where that cannot be had, return the logarithm of the probabilities: its differences are those of the "
            "logits.",
            "If the outputs are logits all the same, say so: Classifier(..., outputs='logits'), or outputs=logits in "
            "the text.",
        ),
    ),
    "logits-not-finite": Mistake(
        title="Logits are NaN or infinite",
        says=r"logits are NaN or infinite",
        why="No verdict can be given about an example without finite logits.",
        fix=(
            "Check the weights: a training that diverged leaves NaN in them.",
            "Check mean= and std=: a deviation of 0 divides by 0.",
        ),
    ),
    "not-logits": Mistake(
        title="The model returns something other than logits",
        says=r"the model returned ",
        why="Everything is defined on one row of at least two logits per example: margins, losses, bounds.",
        fix=(
            "Return one tensor (n, classes) of floats: not a dictionary, not class indices, no spatial axes.",
            "Give a model of a single score z two logits, (0, z).",
        ),
    ),
    "random-model": Mistake(
        title="The model answers the same input differently",
        says=r"two identical calls differ|randomness",
        why="A witness against one draw says nothing about the next; a random model is judged over "
        "repetitions instead.",
        fix=(
            "Call .eval(): dropout draws in training mode.",
            "If randomness is part of the defence: --stochastic, or Classifier(..., stochastic=True).",
            "If it only seems so, because kernels add in different orders: deterministic=True.",
        ),
    ),
    "batch-dependence": Mistake(
        title="Logits of an example change with the rest of its batch",
        says=r"with the rest of its batch|along axis 0, that of the batch",
        why="A verdict about one example would depend on its neighbours, and an attack could use them.",
        fix=(
            "Use running statistics: .eval(), and no track_running_stats=False.",
            "Write shapes with x.shape[0] or flatten(1), and no mean, sum or softmax over the first axis.",
            "If rows are independent all the same: Classifier(..., batch='independent').",
        ),
    ),
    "no-gradient": Mistake(
        title="No gradient reaches the input",
        says=r"no gradient reaches the input",
        why="A gradient attack on a model without gradient finds nothing, and that would look like robustness.",
        fix=(
            "Remove detach(), no_grad() or .data from forward.",
            "If the model cannot be differentiated: --method adaptive finds a stand-in by itself; square, spsa and "
            "hop-skip-jump need none.",
        ),
    ),
    "model-fails": Mistake(
        title="The model fails on its input",
        says=r"the model fails on an input",
        why="The data's shape or type is not the one that the model was made for, or the model was exported "
        "for one batch size.",
        fix=(
            "Compare the shape in the message with the model's first layer: (channels, height, width).",
            "Export with a dynamic first axis.",
            "`epsball check MODEL DATA --ball BALL` tries one piece after the other.",
        ),
    ),
    "not-a-classifier": Mistake(
        title="A function or module in place of a Classifier",
        says=r"a Classifier takes a torch.nn.Module|give a Classifier",
        why="A Classifier holds the module with its box and its normalisation, so that radii are in pixels.",
        fix=(
            "Wrap it: eb.Classifier(module).",
            "Write a function as the forward of a torch.nn.Module.",
        ),
    ),
    "not-a-ball": Mistake(
        title="A text in place of a ball",
        says=r"give a Ball",
        why="In Python a ball is an object with an exact radius; on the command line it is a text.",
        fix=("eb.Ball('linf', '8/255') or eb.Ball.parse('linf:8/255').",),
    ),
    "input-type": Mistake(
        title="Inputs are whole numbers",
        says=r"a classifier takes floats",
        why="An adversarial change is a fraction of a pixel's step; whole numbers cannot hold it.",
        fix=(
            "uint8 images are taken as they are, divided by 255.",
            "Convert others with x.float(), and scale them to [0, 1].",
        ),
    ),
    "pixel-range": Mistake(
        title="Inputs leave the box",
        says=r"the box is \[|leaves the classifier's",
        why="Radii are in the units of the inputs. Normalised or 8-bit inputs would give a radius another "
        "meaning, and a ball is cut with the box of valid inputs.",
        fix=(
            "8-bit pixels: divide by 255.",
            "Normalised inputs: pass raw pixels, and mean= and std= to the Classifier or in the model's text.",
            "Inputs that are not images: give classifier and ball their own box (low=, high=).",
        ),
    ),
    "input-not-finite": Mistake(
        title="Inputs hold NaN or infinity",
        says=r"inputs hold NaN or infinity",
        why="Nothing lies within a ball around NaN.",
        fix=("Mend or remove the examples named in the message.",),
    ),
    "shapes": Mistake(
        title="Inputs or labels have another shape",
        says=r"expected \(n, \*shape\)|one integer label for each|one-hot or scores|labels are integers",
        why="x is (n, ...) and y is (n,) integers: one label per example.",
        fix=(
            "One example: x[None].",
            "One-hot labels: y.argmax(1).",
            "Labels as floats: y.long().",
        ),
    ),
    "labels": Mistake(
        title="A label that the model does not have",
        says=r"^label -?\d+ at index",
        why="An example whose label is not a class would count as misclassified, and accuracy would be too low.",
        fix=(
            "Subtract 1 from labels that start at 1.",
            "Check that the model was trained on this data's classes, in their order.",
        ),
    ),
    "training-without-ball": Mistake(
        title="Adversarial training without a ball",
        says=r"needs a ball|that is standard training",
        why="The objective is defined by its perturbation set.",
        fix=(
            "Give --ball linf:8/255.",
            "Without perturbations take the objective 'standard'.",
        ),
    ),
    "radius": Mistake(
        title="A radius that cannot be meant",
        says=r"radius -?[\d.e+-]+ exceeds the box|radius is ",
        why="Radii are in pixels of [0, 1]: 8 is far beyond a box of width 1, 8/255 is eight steps of an 8-bit image.",
        fix=(
            "linf:8/255 for 8-bit steps; fractions are exact.",
            "l2 and l1 radii are lengths over all pixels together.",
        ),
    ),
    "norm": Mistake(
        title="A norm that is not there",
        says=r"the norms are|is defined for (?:linf|l2|l1)",
        why="Balls are in linf, l2 or l1; an attack is written for some of them.",
        fix=("`epsball list attacks` says which norms each attack has.",),
    ),
    "unknown-name": Mistake(
        title="A name that is not known",
        says=r"^unknown |there is no architecture|does not name a kind|there is no page",
        why="Names are those of `epsball list`; nothing is guessed, but the nearest name is said.",
        fix=(
            "`epsball list` names what there is; `epsball explain NAME` says what it is.",
            "Your own: FILE.py:NAME.",
        ),
    ),
    "targets": Mistake(
        title="Targets do not fit",
        says=r"target(?:s are| of example| classes)",
        why="A targeted attack moves an example towards one other class, one per example.",
        fix=(
            "Give one integer per example, never its own label.",
            "TargetedAPGD takes the likeliest classes by itself.",
        ),
    ),
    "loss": Mistake(
        title="A loss that is not one value per example",
        says=r"a loss is one value per row",
        why="Each example is searched by itself: a mean over the batch would mix them.",
        fix=("Use reduction='none'.",),
    ),
    "options": Mistake(
        title="An option outside its range",
        says=r"must be a whole number|is not understood|is a finite number of at least|takes no options|set one to 0"
        r"|gradient zero at x' = x|choose a smaller batch|must be an integer from|is for float32 models",
        why="Values outside the stated range would give another method, or none.",
        fix=("The message states the range; `epsball explain NAME` lists the options of a method with their meaning.",),
    ),
    "file-not-found": Mistake(
        title="A file that is not there",
        says=r"there is no (?:file|such folder|folder)|No such file",
        why="Paths are taken from where the command runs; `~` is the shell's.",
        fix=(
            "Check the path.",
            "idx: and cifar10: take the folder that holds the files, under their published names.",
        ),
    ),
    "not-a-fixed-graph": Mistake(
        title="A model that is not a fixed sequence of operations",
        says=r"torch.export cannot take|fixed sequence of tensor operations",
        why="A certificate bounds every operation between input and logits, so these have to be the same for "
        "every input.",
        fix=(
            "Replace branches on values by torch.where or masks, loops on values by fixed ones, and .item() by "
            "tensors.",
            "Attacks need no fixed graph: audit with --certificates none.",
        ),
    ),
    "missing-extra": Mistake(
        title="A package that is not installed",
        says=r"which is not installed",
        why="Reading ONNX files, checking certificates and other libraries' attacks need packages that few users have.",
        fix=("Install the extra that the message names, as in: pip install 'epsball[onnx]'.",),
    ),
    "unsupported-operation": Mistake(
        title="An operation that certificates cannot follow",
        says=r"Certificates cannot follow it",
        why="A bound holds only if every operation between input and logits has a proved rule; a guess proves none.",
        fix=(
            "Write that part with operations that have a rule: docs/graph.md lists them.",
            "Attacks need no rule: audit with --certificates none.",
        ),
    ),
    "certificate": Mistake(
        title="A certificate that does not hold here",
        says=r"(?!)",
        why="A certificate is about one network, by hash, and every claim in it is derived anew. One that is damaged, "
        "of another network, or above what the checker derives is refused.",
        fix=(
            "Compare the hash: `epsball fingerprint MODEL` prints the network's.",
            "Make it again: `epsball certify MODEL DATA --ball BALL --out FOLDER`.",
        ),
    ),
    "assumption": Mistake(
        title="A stated assumption does not hold on this machine",
        says=r"(?!)",
        why="A float32 certificate assumes that kernels round as IEEE 754 asks; the evidence names every assumption. "
        "One was found broken, so the certificates that rest on it say nothing here.",
        fix=(
            "Take the kernels that the message names out of use, as it says.",
            "Or claim less: --semantics real is about the function of the weights, not about the deployed network.",
        ),
    ),
    "contradiction": Mistake(
        title="An example is both broken and certified",
        says=r"(?!)",
        why="A verified witness and a proof about the same set cannot both be right: this is a bug in epsball, or "
        "kernels that do not round as assumed. Nothing is reported beside it.",
        fix=(
            "Keep the run folder and report it, with versions of epsball and PyTorch.",
            "`epsball replay` on the certificate says whether the independent checker accepts it.",
        ),
    ),
}
"""By name. The order decides where two patterns fit: the first is taken."""

_CLASSES = {
    "RandomModelError": "random-model",
    "BatchDependenceError": "batch-dependence",
    "NoGradientError": "no-gradient",
    "MissingExtra": "missing-extra",
    "CertificateError": "certificate",
    "AssumptionError": "assumption",
    "SoundnessError": "contradiction",
}
"""Classes of one mistake each."""

_PATTERNS = {name: re.compile(mistake.says) for name, mistake in MISTAKES.items()}


def page_of(kind: str, message: str) -> str:
    """Return the name of the page about an error of a class: that of its mistake, or else of the class.

    Examples
    --------
    >>> page_of("InputError", "radius 8 exceeds the box [0, 1]")
    'radius'
    >>> page_of("SoundnessError", "a witness and a certificate")
    'contradiction'
    >>> page_of("EpsballError", "a weight is not finite")
    'EpsballError'
    """
    if kind in _CLASSES:
        return _CLASSES[kind]
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(message)), kind)
