"""Let `mlflow run .` use the running virtual environment, so that nothing is installed twice.

MLflow would create an environment of its own, for which it needs pyenv, unless one of the right name exists. That name comes
from private functions of MLflow: if they change, the error says so, and what to do instead.
"""

import sys
from pathlib import Path

from medtransfer.errors import StageError

REMEDY = "use `mlflow run . --env-manager local` inside the activated environment"


def link_environment(project: Path) -> Path:
    """Link the running interpreter's virtual environment to where MLflow looks for that of a project's python_env.yaml.

    Returns:
        The environment that MLflow will use: the running one, or one that MLflow has made, which is kept.

    Raises:
        StageError: this is no virtual environment, or MLflow has changed.
    """
    if not (Path(sys.prefix) / "bin" / "activate").is_file():
        raise StageError(f"{sys.prefix} is no virtual environment that MLflow could activate; {REMEDY}")
    try:
        from mlflow.utils.environment import _PythonEnv
        from mlflow.utils.virtualenv import _get_mlflow_virtualenv_root, _get_virtualenv_name

        environment = _PythonEnv.from_yaml(str(project / "python_env.yaml"))
        link = Path(_get_mlflow_virtualenv_root()) / _get_virtualenv_name(environment, str(project))
    except Exception as error:
        raise StageError(f"MLflow's environment could not be linked ({type(error).__name__}: {error}); {REMEDY}") from None
    if link.exists() and not link.is_symlink():
        return link
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(sys.prefix, target_is_directory=True)
    return Path(sys.prefix)
