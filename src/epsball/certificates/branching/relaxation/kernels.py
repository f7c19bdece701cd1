"""Compiled sweeps over a reduced network: some subproblems side by side as lanes, every rectifier in one go.

What `Dual` does with whole matrices, for many subproblems: of a rectifier all is done at once while it is in the cache,
and rectifiers on which no row of a block depends are left out. Formulas are those of `dual`. All of it is one file:
numba compiles a function anew only where its own file has changed.
"""

from typing import NamedTuple

import numpy as np

from epsball.compiled import compiled

LANES = 48
"""The most subproblems of a block, whose numbers stay in the cache; the last block has a multiple of eight."""

_FAST = {"contract", "nsz"}


class Entries(NamedTuple):
    """A sparse matrix of m rows: where each row starts, (m + 1,), and the column and value of its entries."""

    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


class Network(NamedTuple):
    """Rectifiers over the columns of an array: the d entries of the input, then the m rectifiers, earlier ones first.

    Parameters
    ----------
    taken, constant
        By rectifier what it takes, and its constant.
    chord, intercept
        The line above it, (m,).
    above, offset, shared
        Its envelope g . x + h, and whether it has one.
    low, high, centre, radius, round
        The domain: a box, cut by a ball of l2 where it is round.
    """

    taken: Entries
    constant: np.ndarray
    chord: np.ndarray
    intercept: np.ndarray
    above: Entries
    offset: np.ndarray
    shared: np.ndarray
    low: np.ndarray
    high: np.ndarray
    centre: np.ndarray
    radius: float
    round: bool


class Rows(NamedTuple):
    """Functions over the columns, (R, d + m), their constants (R,), and the number of the function of each column."""

    over: np.ndarray
    constant: np.ndarray
    numbers: np.ndarray


class Block(NamedTuple):
    """What is known of a block of subproblems, lane by lane.

    Parameters
    ----------
    reached, fixed
        Rectifiers that the rows depend on, in their order, and whether any lane has decided each.
    inputs
        Entries of the input that the rows depend on.
    start, constant
        The rows, (d + m, lanes), and their constants (lanes,).
    free, on, sign
        (m, lanes): 1 where a rectifier is free, 1 where it is on, and the sign of a split; else 0.
    slopes, multipliers
        (m, lanes).
    """

    reached: np.ndarray
    fixed: np.ndarray
    inputs: np.ndarray
    start: np.ndarray
    constant: np.ndarray
    free: np.ndarray
    on: np.ndarray
    sign: np.ndarray
    slopes: np.ndarray
    multipliers: np.ndarray


@compiled(fastmath=_FAST, error_model="numpy")
def ascend(network, rows, states, slopes, multipliers, unit, schedule, value, coefficients, points):
    """Ascend subproblems (b,), block by block; slopes, multipliers (b, m) and what follows are written in place.

    The schedule holds the number of steps, the first step of slopes and of multipliers, the decay, and the decays of
    Adam's two moments. A unit without entries stands for that of the first bound.
    """
    steps, slope_step, multiplier_step, decay, first, second = schedule
    d, m = len(network.low), len(network.constant)
    for begin in range(0, len(states), LANES):
        block = _loaded(network, rows, states, slopes, multipliers, begin)
        lanes = block.start.shape[1]
        over = np.empty_like(block.start)
        relaxed = np.empty_like(block.start)
        moments = np.zeros((4, m, lanes), over.dtype)
        kept, kept_multipliers = block.slopes.copy(), block.multipliers.copy()
        best_over, best_point = np.zeros((m, lanes), over.dtype), np.zeros((d, lanes), over.dtype)
        now, best = np.empty(lanes, over.dtype), np.empty(lanes, over.dtype)
        units = np.zeros((m, lanes), over.dtype)
        _back(network, block, over, now)
        _least(network, block, over, relaxed, now)
        best[:] = now
        best_over[:] = over[d:]
        best_point[:] = relaxed[:d]
        if multiplier_step > 0:
            _units(block, over, unit, units, begin)
        for step in range(int(steps)):
            shrunk = decay**step
            scale = (1 - second ** (step + 1)) ** 0.5 / (1 - first ** (step + 1))
            sizes = (slope_step * shrunk * scale, multiplier_step * shrunk * scale, first, second)
            _climb(network, block, over, relaxed, moments, units, sizes)
            _back(network, block, over, now)
            _least(network, block, over, relaxed, now)
            _keep(block, over, relaxed, now, best, kept, kept_multipliers, best_over, best_point)
        _store(
            block,
            begin,
            value,
            slopes,
            multipliers,
            coefficients,
            points,
            best,
            kept,
            kept_multipliers,
            best_over,
            best_point,
        )


@compiled(fastmath=_FAST, error_model="numpy")
def bound(network, rows, states, slopes, multipliers, value):
    """Write the bounds of subproblems (b,) with given slopes and multipliers."""
    for begin in range(0, len(states), LANES):
        block = _loaded(network, rows, states, slopes, multipliers, begin)
        over, relaxed = np.empty_like(block.start), np.empty_like(block.start)
        now = np.empty(over.shape[1], over.dtype)
        _back(network, block, over, now)
        _least(network, block, over, relaxed, now)
        for lane in range(min(len(now), len(states) - begin)):
            value[begin + lane] = now[lane]


@compiled()
def _loaded(network, rows, states, slopes, multipliers, begin):
    """Return a block of the subproblems from one on; lanes beyond the last repeat it."""
    lanes = min(LANES, (len(states) - begin + 7) // 8 * 8)
    d, m, dtype = len(network.low), len(network.constant), slopes.dtype
    last = len(states) - 1
    reach = np.zeros(d + m, np.bool_)
    fixed = np.zeros(m, np.bool_)
    start = np.empty((d + m, lanes), dtype)
    constant = np.empty(lanes, dtype)
    for lane in range(lanes):
        at = min(begin + lane, last)
        number = rows.numbers[at]
        constant[lane] = rows.constant[number]
        for column in range(d + m):
            entry = rows.over[number, column]
            start[column, lane] = entry
            reach[column] |= entry != 0
        for unit in range(m):
            if states[at, unit] != 0:
                fixed[unit] = True
                reach[d + unit] |= abs(states[at, unit]) == 1
    count = 0
    for unit in range(m - 1, -1, -1):
        if reach[d + unit]:
            count += 1
            for entry in range(network.taken.starts[unit], network.taken.starts[unit + 1]):
                reach[network.taken.columns[entry]] = True
            for entry in range(network.above.starts[unit], network.above.starts[unit + 1]):
                reach[network.above.columns[entry]] = True
    reached = np.nonzero(reach[d:])[0]
    free, on, sign = np.ones((m, lanes), dtype), np.zeros((m, lanes), dtype), np.zeros((m, lanes), dtype)
    own, pulls = np.empty((m, lanes), dtype), np.zeros((m, lanes), dtype)
    for lane in range(lanes):
        at = min(begin + lane, last)
        for unit in reached:
            own[unit, lane] = slopes[at, unit]
            if fixed[unit]:
                state = states[at, unit]
                if state != 0:
                    free[unit, lane] = 0
                    on[unit, lane] = 1 if state > 0 else 0
                    sign[unit, lane] = state if abs(state) == 1 else 0
                pulls[unit, lane] = multipliers[at, unit]
    return Block(reached, fixed, np.nonzero(reach[:d])[0], start, constant, free, on, sign, own, pulls)


@compiled(fastmath=_FAST, error_model="numpy")
def _back(network, block, over, value):
    """Carry the rows back to the input: `over` (d + m, lanes) holds coefficients A, and value the constant."""
    lanes = over.shape[1]
    d = len(network.low)
    zero = over.dtype.type(0)
    through, shares = np.empty(lanes, over.dtype), np.empty(lanes, over.dtype)
    value[:] = block.constant
    for column in block.inputs:
        over[column] = block.start[column]
    for unit in block.reached:
        over[d + unit] = block.start[d + unit]
    for place in range(len(block.reached) - 1, -1, -1):
        unit = block.reached[place]
        chord, intercept, constant = network.chord[unit], network.intercept[unit], network.constant[unit]
        if network.shared[unit]:
            offset = network.offset[unit]
            for lane in range(lanes):
                coefficient = over[d + unit, lane]
                below = min(coefficient, zero)
                free, on, slope = block.free[unit, lane], block.on[unit, lane], block.slopes[unit, lane]
                share = below * slope * free
                below -= share
                lower = slope * free + on
                upper = chord * free + on
                pull = block.sign[unit, lane] * block.multipliers[unit, lane]
                shares[lane] = share
                through[lane] = max(coefficient, zero) * lower + below * upper - pull
                value[lane] += offset * share + below * intercept * free + constant * through[lane]
            for entry in range(network.above.starts[unit], network.above.starts[unit + 1]):
                column, weight = network.above.columns[entry], network.above.weights[entry]
                for lane in range(lanes):
                    over[column, lane] += weight * shares[lane]
        elif block.fixed[unit]:
            for lane in range(lanes):
                coefficient = over[d + unit, lane]
                free, on = block.free[unit, lane], block.on[unit, lane]
                below = min(coefficient, zero)
                lower = block.slopes[unit, lane] * free + on
                upper = chord * free + on
                pull = block.sign[unit, lane] * block.multipliers[unit, lane]
                through[lane] = max(coefficient, zero) * lower + below * upper - pull
                value[lane] += below * intercept * free + constant * through[lane]
        else:
            for lane in range(lanes):
                coefficient = over[d + unit, lane]
                below = min(coefficient, zero)
                through[lane] = max(coefficient, zero) * block.slopes[unit, lane] + below * chord
                value[lane] += below * intercept + constant * through[lane]
        for entry in range(network.taken.starts[unit], network.taken.starts[unit + 1]):
            column, weight = network.taken.columns[entry], network.taken.weights[entry]
            for lane in range(lanes):
                over[column, lane] += weight * through[lane]


@compiled(fastmath=_FAST, error_model="numpy")
def _least(network, block, over, relaxed, value):
    """Add the least value of the rows over the domain, and write where it is attained, as `Region.least` does."""
    lanes = over.shape[1]
    zero = over.dtype.type(0)
    box = np.zeros(lanes, over.dtype)
    for column in block.inputs:
        low, high = network.low[column], network.high[column]
        for lane in range(lanes):
            coefficient = over[column, lane]
            point = low if coefficient > zero else high
            relaxed[column, lane] = point
            box[lane] += coefficient * point
    if not network.round:
        for lane in range(lanes):
            value[lane] += box[lane]
        return
    size, middle = np.zeros(lanes, over.dtype), np.zeros(lanes, over.dtype)
    for column in block.inputs:
        for lane in range(lanes):
            coefficient = over[column, lane]
            middle[lane] += coefficient * network.centre[column]
            size[lane] += coefficient * coefficient
    for lane in range(lanes):
        length = max(np.sqrt(size[lane]), over.dtype.type(1e-30))
        ball = middle[lane] - network.radius * length
        value[lane] += max(ball, box[lane])
        if ball > box[lane]:
            for column in block.inputs:
                relaxed[column, lane] = network.centre[column] - network.radius * over[column, lane] / length


@compiled(fastmath=_FAST, error_model="numpy")
def _climb(network, block, over, relaxed, moments, units, sizes):
    """Take a step of Adam where the relaxation is least: rectifiers in their order, each as soon as r is known."""
    lanes = over.shape[1]
    slope_size, multiplier_size, first, second = sizes
    dtype = over.dtype.type
    d, zero, one, tiny = len(network.low), dtype(0), dtype(1), dtype(1e-12)
    old1, new1, old2, new2 = dtype(first), dtype(1 - first), dtype(second), dtype(1 - second)
    size, multiplier = dtype(slope_size), dtype(multiplier_size)
    z, excess = np.empty(lanes, over.dtype), np.zeros(lanes, over.dtype)
    for unit in block.reached:
        chord, intercept = network.chord[unit], network.intercept[unit]
        z[:] = network.constant[unit]
        for entry in range(network.taken.starts[unit], network.taken.starts[unit + 1]):
            column, weight = network.taken.columns[entry], network.taken.weights[entry]
            for lane in range(lanes):
                z[lane] += weight * relaxed[column, lane]
        shared = network.shared[unit]
        if shared:
            excess[:] = network.offset[unit]
            for entry in range(network.above.starts[unit], network.above.starts[unit + 1]):
                column, weight = network.above.columns[entry], network.above.weights[entry]
                for lane in range(lanes):
                    excess[lane] += weight * relaxed[column, lane]
        for lane in range(lanes):
            free, on, slope = block.free[unit, lane], block.on[unit, lane], block.slopes[unit, lane]
            coefficient, taken = over[d + unit, lane], z[lane]
            line = intercept * free + (chord * free + on) * taken
            above = (excess[lane] - line) * free if shared else zero
            line += slope * above
            positive = coefficient >= zero
            relaxed[d + unit, lane] = (slope * free + on) * taken if positive else line
            gradient = coefficient * (taken * free if positive else above)
            moment = old1 * moments[0, unit, lane] + new1 * gradient
            square = old2 * moments[1, unit, lane] + new2 * gradient * gradient
            moments[0, unit, lane], moments[1, unit, lane] = moment, square
            block.slopes[unit, lane] = min(max(slope + size * moment / (np.sqrt(square) + tiny), zero), one)
        if multiplier > zero and block.fixed[unit]:
            for lane in range(lanes):
                gradient = -block.sign[unit, lane] * z[lane]
                moment = old1 * moments[2, unit, lane] + new1 * gradient
                square = old2 * moments[3, unit, lane] + new2 * gradient * gradient
                moments[2, unit, lane], moments[3, unit, lane] = moment, square
                moved = multiplier * units[unit, lane] * moment / (np.sqrt(square) + tiny)
                block.multipliers[unit, lane] = max(block.multipliers[unit, lane] + moved, zero)


@compiled()
def _units(block, over, unit, units, begin):
    """Write the unit of multipliers' steps: the given one, or the coefficients and a twentieth of the largest."""
    lanes = over.shape[1]
    d, last = len(over) - len(units), len(unit) - 1
    if unit.size:
        for lane in range(lanes):
            for place in block.reached:
                units[place, lane] = unit[min(begin + lane, last), place]
        return
    most = np.zeros(lanes, over.dtype)
    for place in block.reached:
        for lane in range(lanes):
            most[lane] = max(most[lane], abs(over[d + place, lane]))
    for place in block.reached:
        for lane in range(lanes):
            units[place, lane] = abs(over[d + place, lane]) + over.dtype.type(0.05) * most[lane]


@compiled()
def _keep(block, over, relaxed, now, best, kept, kept_multipliers, best_over, best_point):
    """Keep what the lanes that are better than before stand on."""
    lanes = over.shape[1]
    d = len(best_point)
    better = now > best
    if not better.any():
        return
    for unit in block.reached:
        for lane in range(lanes):
            kept[unit, lane] = block.slopes[unit, lane] if better[lane] else kept[unit, lane]
            best_over[unit, lane] = over[d + unit, lane] if better[lane] else best_over[unit, lane]
        if block.fixed[unit]:
            for lane in range(lanes):
                if better[lane]:
                    kept_multipliers[unit, lane] = block.multipliers[unit, lane]
    for column in block.inputs:
        for lane in range(lanes):
            best_point[column, lane] = relaxed[column, lane] if better[lane] else best_point[column, lane]
    for lane in range(lanes):
        best[lane] = max(best[lane], now[lane])


@compiled()
def _store(
    block, begin, value, slopes, multipliers, coefficients, points, best, kept, kept_multipliers, best_over, best_point
):
    """Write a block's results to its subproblems."""
    for lane in range(min(len(best), len(value) - begin)):
        at = begin + lane
        value[at] = best[lane]
        for unit in block.reached:
            slopes[at, unit] = kept[unit, lane]
            coefficients[at, unit] = best_over[unit, lane]
            if block.fixed[unit]:
                multipliers[at, unit] = kept_multipliers[unit, lane]
        for column in block.inputs:
            points[at, column] = best_point[column, lane]
