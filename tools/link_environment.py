"""Let `mlflow run .` use the project's virtual environment, so that nothing is installed twice.

MLflow would create an environment of its own, for which it needs pyenv, unless one of the right name exists. That name comes
from private functions of MLflow: if they change, this script says so, and what to do instead.
"""

import sys
from pathlib import Path

FALLBACK = "use `mlflow run . --env-manager local` inside the activated environment"


def main() -> None:
    """Link the running interpreter's environment to where MLflow looks for it."""
    project = Path(__file__).resolve().parent.parent
    try:
        from mlflow.utils.environment import _PythonEnv
        from mlflow.utils.virtualenv import _get_mlflow_virtualenv_root, _get_virtualenv_name

        environment = _PythonEnv.from_yaml(str(project / "python_env.yaml"))
        link = Path(_get_mlflow_virtualenv_root()) / _get_virtualenv_name(environment, str(project))
    except Exception as error:
        sys.exit(f"MLflow's environment could not be linked ({type(error).__name__}: {error}); {FALLBACK}")
    if link.exists() and not link.is_symlink():
        print(f"MLflow has an environment of its own at {link}; it is kept")
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(sys.prefix, target_is_directory=True)
    print(f"mlflow run . uses {sys.prefix}")


if __name__ == "__main__":
    main()
