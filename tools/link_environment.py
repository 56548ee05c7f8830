"""The project's virtual environment goes in; MLflow finds it as the environment of MLproject, so nothing is installed twice.

`mlflow run .` would make an environment of its own and needs pyenv for that. It uses an existing one as it is. The name it
looks for is made by functions that MLflow keeps private: if they change, this script says so and what to do instead.
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

        wanted = _PythonEnv.from_yaml(str(project / "python_env.yaml"))
        link = Path(_get_mlflow_virtualenv_root()) / _get_virtualenv_name(wanted, str(project))
    except Exception as fault:
        sys.exit(f"MLflow's environment could not be linked ({type(fault).__name__}: {fault}); {FALLBACK}")
    if link.exists() and not link.is_symlink():
        print(f"MLflow has an environment of its own at {link}; it is kept")
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(sys.prefix, target_is_directory=True)
    print(f"mlflow run . uses {sys.prefix}")


if __name__ == "__main__":
    main()
