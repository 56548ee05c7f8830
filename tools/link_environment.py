"""Let `mlflow run .` use the project's virtual environment, so that nothing is installed twice."""

import sys
from pathlib import Path

from medtransfer.errors import StageError
from medtransfer.tracking import link_environment


def main() -> None:
    """Link the running interpreter's environment to where MLflow looks for it."""
    try:
        environment = link_environment(Path(__file__).resolve().parent.parent)
    except StageError as error:
        sys.exit(str(error))
    own = environment.resolve() == Path(sys.prefix).resolve()
    print(f"mlflow run . uses {environment}" if own else f"MLflow has an environment of its own at {environment}; it is kept")


if __name__ == "__main__":
    main()
