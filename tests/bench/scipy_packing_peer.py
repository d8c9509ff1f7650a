"""A peer for packing_bench: SciPy's basin hopping or differential evolution over an objective of LIBRARY's.

    scipy_packing_peer.py LIBRARY OBJECTIVE METHOD EVALUATIONS SEED

OBJECTIVE is packing_objective, the very one that calyx uses, or packing_objective_of_targets. Prints the wall seconds, the CPU seconds and the valid radius of the best point after exactly that many evaluations.
"""

import ctypes
import math
import sys
import time


class Enough(Exception):
    pass


def main():
    # Where it is not installed the import error says so, and the caller leaves this peer out.
    import numpy
    import scipy.optimize

    library = ctypes.CDLL(sys.argv[1])
    value_of, method = library[sys.argv[2]], sys.argv[3]
    evaluations, seed = int(sys.argv[4]), int(sys.argv[5])
    for function in (value_of, library.packing_feasible_radius):
        function.restype = ctypes.c_double
    value_of.argtypes = [ctypes.c_void_p, ctypes.c_double]
    library.packing_feasible_radius.argtypes = [ctypes.c_void_p]
    best = [math.inf, None]
    spent = 0

    def objective(x):
        nonlocal spent
        if spent == evaluations:
            raise Enough
        spent += 1
        x = numpy.ascontiguousarray(x)
        value = value_of(x.ctypes.data, penalty)
        if value < best[0]:
            best[0], best[1] = value, x.copy()
        return value

    # Penalty 10 is where SciPy did best in the published figures.
    penalty = 10.0
    bounds = [(-2.5, 2.5), (-2.5, 2.5), (-math.pi, math.pi)] * 15
    generator = numpy.random.default_rng(seed)
    start = numpy.array([generator.uniform(low, high) for low, high in bounds])
    wall, cpu = time.monotonic(), time.process_time()
    try:
        while True:
            if method == "basinhopping":
                scipy.optimize.basinhopping(
                    objective, start, niter=1_000_000, minimizer_kwargs={"method": "L-BFGS-B", "bounds": bounds}
                )
            else:
                scipy.optimize.differential_evolution(
                    objective, bounds, maxiter=1_000_000, tol=0, polish=False, updating="deferred"
                )
    except Enough:
        pass
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    print(f"{wall} {cpu} {library.packing_feasible_radius(best[1].ctypes.data)}")


if __name__ == "__main__":
    main()
