"""A hospital's process that is killed while it works: `... SPEC`, with how many workers it has begun."""

import sys
import tempfile

from datasites.sandbox.spec import Spec
from datasites.sandbox.template import Template

WORKERS = 2


def main() -> None:
    """Begin them, say which process the template is, then wait for the end."""
    with tempfile.TemporaryFile() as log:
        template = Template(Spec.from_json(sys.argv[1]), log)
        workers = [template.worker() for _ in range(WORKERS)]
        for worker in workers:
            worker.ready()
        for worker in workers:
            worker.hand_over(None)
            worker.answers.read(len(b"begun"))
        print(template.process.pid, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
