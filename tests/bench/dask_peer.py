"""A peer for jobs_bench: no-op tasks through Dask's own scheduler and two worker processes on this machine.

Prints the wall seconds that `client.map` and `gather` took, and the CPU seconds of all its processes meanwhile.
"""

import os
import resource
import sys
import time


def nothing(number):
    return number


def cpu_of(pids):
    """The CPU seconds that these processes have taken, user and system."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main():
    # Where it is not installed the import error says so, and the caller leaves this peer out.
    import distributed

    tasks = int(sys.argv[1])
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster, distributed.Client(cluster) as client:
        workers = list(client.run(os.getpid).values())
        client.gather(client.map(nothing, range(100), pure=False))  # warm
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = cpu_of(workers) + usage.ru_utime + usage.ru_stime
        wall = time.monotonic()
        results = client.gather(client.map(nothing, range(tasks), pure=False))
        wall = time.monotonic() - wall
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = cpu_of(workers) + usage.ru_utime + usage.ru_stime - cpu
    if results != list(range(tasks)):
        raise SystemExit("the peer lost a task")
    print(f"{wall} {cpu}")


if __name__ == "__main__":
    main()
