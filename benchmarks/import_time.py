"""What `import hypersharp` and `hypersharp --help` cost over the bare interpreter: the best of many, in turn."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

WHAT = {
    "bare interpreter": ["-c", "pass"],
    "import hypersharp": ["-c", "import hypersharp"],
    "hypersharp --help": ["-m", "hypersharp", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    best = dict.fromkeys(WHAT, float("inf"))
    for _ in range(repeats):
        for name, arguments in WHAT.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            best[name] = min(best[name], time.perf_counter() - started)
    bare = best["bare interpreter"]
    for name, seconds in best.items():
        print(f"{name:<20}{1e3 * seconds:8.1f} ms{1e3 * (seconds - bare):8.1f} ms over the interpreter")


if __name__ == "__main__":
    main()
