"""The launch of a script with spark-submit instead of Python."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import private_folders
from amlexec.config import load as config
from amlexec.digest import canonical_json, of_bytes
from amlexec.docker import containers
from amlexec.errors import TargetError
from amlexec.files import SMALL, read_regular, write_atomically
from amlexec.redaction import is_secret
from amlexec.runtime import SHELL, SITE, shell
from amlexec.spark import cluster_args, kerberos, maven, submit_args
from amlexec.targets import python_used
from amlexec.targets.script_environment import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.dependencies import SparkDependencies
    from amlexec.docker.client import Engine
    from amlexec.local_machine import Connection
    from amlexec.spark.cluster_args import Shipped
    from amlexec.spark.submit_args import Pythons, Spark
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.target import Launch
    from amlexec.values import ComputeTarget, Plan

__all__ = [
    "cluster",
    "contained",
    "declared",
    "ivy_for_folders",
    "launched",
    "local",
    "must_have_hadoop",
    "name_of",
    "remote",
]

_ASK_TIMEOUT_S = 60
_NO_SPARK = (
    "install it for that Python ({} -m pip install pyspark), put spark-submit on PATH, "
    "or give its path as sparkSubmitLocation"
)
_NO_JAVA = "install it (Debian: apt install default-jre-headless), or set JAVA_HOME in EnvironmentVariables"


def declared(plan: Plan) -> SparkDependencies:
    """A plan's Spark dependencies file, with the project's folders as absolute URLs.

    Raises:
        ConfigurationError: it has errors, or names a folder that does not exist.
    """
    found = config.find_spark(plan.project, plan.spark_dependencies_file)
    submit_args.folders_must_be_there(found, plan.project.root)
    return submit_args.placed(found, plan.project.root)


def launched(
    plan: Plan,
    launch: Launch,
    found: Spark,
    dependencies: SparkDependencies,
    options: Sequence[str],
    pythons: Pythons | None = None,
) -> Launch:
    """Turn the launch of a script with Python into one with spark-submit and these options.

    `pythons` run the driver and the executors; by default, the script's Python.
    """
    pythons = pythons or submit_args.pythons(plan, dependencies, launch.python.path, launch.python.path)
    # This machine's own setting is ignored: a notebook named there would never end.
    first = dict(plan.environment_variables).get("PYSPARK_DRIVER_PYTHON", launch.python.path)
    environment = {
        **launch.environment,
        "PYSPARK_PYTHON": pythons.executors,
        "PYSPARK_DRIVER_PYTHON": first,
    }
    environment.pop("PYSPARK_DRIVER_PYTHON_OPTS", None)
    site = launch.environment["PYTHONPATH"].partition(":")[0]
    is_ours = launch.digest and not pythons.declared_executors
    return launch._replace(
        argv=(
            *(found.submit, *options, *pythons.options),
            *(f"{site}/amlexec/spark_driver.py", *launch.argv[1:]),
        ),
        environment=environment,
        executors=python_used.expected(launch.python.version, pythons.executors if is_ours else ""),
        is_as_declared=bool(pythons.declared_driver),
        warnings=(*launch.warnings, *(pythons.warnings(plan) if launch.digest else ())),
        settings=submit_args.settings(dependencies),
    )


def local(plan: Plan, launch: Launch, connection: Connection) -> Launch:
    """The launch on this machine. Raises ConfigurationError, and TargetError without Spark or Java."""
    dependencies = declared(plan)
    answer = connection.run(
        [SHELL, shell("spark"), plan.target.spark_submit_location, launch.python.path],
        timeout=_ASK_TIMEOUT_S,
        environment=launch.environment,
    )
    found = _usable(plan, launch, answer.stdout, connection.name)
    options = submit_args.arguments(dependencies, name_of(plan), ivy_for_folders(plan, dependencies))
    return launched(plan, launch, found, dependencies, options)


def remote(plan: Plan, launch: Launch, connection: SSHConnection) -> Launch:
    """The launch on another machine. Raises like `local`.

    A repository folder with an absolute path is on that machine; a relative one is in the project's copy.
    """
    dependencies = config.find_spark(plan.project, plan.spark_dependencies_file)
    found = _usable(plan, launch, _answer_of_machine(plan, launch, connection), connection.name)
    options = submit_args.arguments(dependencies, name_of(plan))
    return launched(plan, launch, found, dependencies, options)


def contained(plan: Plan, launch: Launch, engine: Engine) -> Launch:
    """The launch in a container, whose image has the packages. Raises like `local`."""
    dependencies = declared(plan)
    found = submit_args.read(_answer_of_image(plan, launch, engine))
    if not found.submit:
        raise submit_args.no_spark(plan, "in the environment", maven.SPARK_MISSING)
    submit_args.java_must_do(found, str(plan.target.place), maven.SPARK_MISSING)
    # Java encodes file names by the locale; an image without one would use ASCII.
    environment = {"LANG": "C.UTF-8", **launch.environment}
    options = submit_args.baked_arguments(dependencies, name_of(plan), found.jars)
    return launched(plan, launch._replace(environment=environment), found, dependencies, options)


def _answer_of_image(plan: Plan, launch: Launch, engine: Engine) -> str:
    """The output of `spark.sh` in an image; cached, since an image never changes.

    Raises:
        TargetError: it failed there, so nothing is known of the image.
    """
    script = Path(shell("spark")).read_text("utf-8")
    words = [plan.target.spark_submit_location, launch.python.path]
    settings = {
        "Image": launch.image_id,
        "Entrypoint": [SHELL, "-c", script, "sh"],
        "Cmd": words,
        "WorkingDir": "/",
        "Env": [f"{name}={value}" for name, value in sorted(launch.environment.items())],
        "Healthcheck": {"Test": ["NONE"]},
    }
    name = of_bytes(canonical_json([settings]))[:20]
    memory = Path(plan.project.state, "cache", f"spark-{name}")
    try:
        return read_regular(memory, SMALL).decode("utf-8", "replace")
    except OSError:
        pass  # not cached
    container = containers.create(engine, settings)
    try:
        containers.start(engine, container)
        code = containers.wait(engine, container, timeout=_ASK_TIMEOUT_S)
        with containers.logs(engine, container) as output:
            frames = [frame.data for frame in output if frame.stream == containers.STDOUT]
    finally:
        containers.remove(engine, container, force=True)
    if code != 0:
        raise TargetError(
            f"the search for Spark in the image ended with exit code {code}",
            where=engine.address,
            hint="was it killed, perhaps for lack of memory?",
        )
    answer = b"".join(frames).decode(errors="replace")
    private_folders.make(memory.parent)
    write_atomically(memory, answer)
    return answer


def cluster(plan: Plan, launch: Launch, connection: SSHConnection, pack: Callable[[str], Shipped]) -> Launch:
    """The launch on a cluster, on its head node. Raises like `local`, and if no master answers.

    The Python of `launch` is that of a driver on the head node. `pack` gets the path of the environment's
    archive, or "", and creates one if it is missing and needed.
    """
    target, python = plan.target, launch.python.path
    dependencies = config.find_spark(plan.project, plan.spark_dependencies_file)
    found, archive = _spark_of_cluster(plan, launch, connection)
    if target.master == "yarn" and found.hadoop != "unknown":
        launch = launch._replace(environment={"HADOOP_CONF_DIR": found.hadoop, **launch.environment})
    shipped = pack(archive)
    options = _options_of_cluster(plan, dependencies, python, shipped)
    on_executors = cluster_args.executors_python(target, python, shipped)
    on_driver = cluster_args.drivers_python(target, python, shipped)
    pythons = submit_args.pythons(plan, dependencies, on_driver, on_executors)
    is_driver_on_node = cluster_args.mode(target) == "cluster"
    if is_driver_on_node:
        on_node = launch._replace(
            python=launch.python._replace(path=on_driver), is_as_declared=bool(pythons.declared_driver)
        )
        options += cluster_args.asked(python_used.wanted(on_node, plan))
    launch = launched(plan, launch, found, dependencies, options, pythons)
    if not pythons.declared_executors and on_executors != python:
        launch = launch._replace(executors=cluster_args.expected(launch.python.version))
    if is_driver_on_node:
        at = len(launch.argv) - 2 - len(plan.arguments)
        runner = launch.argv[at].replace("spark_driver.py", "spark_node.py")
        launch = launch._replace(argv=(*launch.argv[:at], runner, "run", *launch.argv[at + 1 :]))
    if target.master == "yarn":
        site = launch.environment["PYTHONPATH"].partition(":")[0]
        submitter = cluster_args.submitter(target, python, site, launch.argv)
        launch = launch._replace(argv=(*submitter, *launch.argv))
    return launch


def _spark_of_cluster(plan: Plan, launch: Launch, connection: SSHConnection) -> tuple[Spark, str]:
    """The Spark of a cluster that can be used now, and the path of the environment's archive, or ""."""
    target = plan.target
    environment = dict(launch.environment)
    if "PATH" in environment:
        # The cluster's own Spark, even if the environment has one, too.
        prefix = launch.python.path.removesuffix("/bin/python")
        environment["PATH"] = environment["PATH"].removeprefix(f"{prefix}/bin:")
    without = launch._replace(environment=environment)
    answer = _answer_of_machine(plan, without, connection, "spark_master.py", target.master)
    found = _usable(plan, launch, answer, connection.name)
    must_have_hadoop(target, found, connection.name)
    if target.master == "yarn":
        kerberos.ticket_must_be_valid(found, connection.name)
    master_must_answer(target, answer, connection.name)
    return found, next((line[8:] for line in answer.splitlines() if line.startswith("archive ")), "")


def _options_of_cluster(
    plan: Plan, dependencies: SparkDependencies, python: str, shipped: Shipped
) -> list[str]:
    """The options of spark-submit; secrets are left to a properties file. `python` is the head node's."""
    target, variables, settings = plan.target, plan.environment_variables, dependencies.configuration
    public = tuple(item for item in settings if not is_secret(item[0].replace(".", "_")))
    own = dict(settings).get("spark.submit.pyFiles", "")
    options = [
        *cluster_args.options(target, variables, python, shipped),
        *("--py-files", ",".join([*([own] if own else []), cluster_args.MODULES])),
        *submit_args.arguments(dependencies._replace(configuration=public), name_of(plan)),
    ]
    if target.master == "yarn":
        options += cluster_args.tagged(target, settings)
    if cluster_args.properties(target, variables, settings):
        options[:0] = ["--properties-file", cluster_args.PROPERTIES]
    return options


def must_have_hadoop(target: ComputeTarget, found: Spark, machine: str) -> None:
    """Raise TargetError for the master `yarn` on a machine without a configuration of Hadoop."""
    if target.master == "yarn" and not found.hadoop:
        raise TargetError(
            "the master is yarn, but the machine has no configuration of Hadoop: HADOOP_CONF_DIR is not set",
            where=machine,
            hint="set HADOOP_CONF_DIR for logins without a terminal, or in EnvironmentVariables; for a "
            f"cluster without YARN, set master to spark://HOST:7077 or local[*] in {target.place.path}",
        )


def master_must_answer(target: ComputeTarget, answer: str, machine: str) -> None:
    """Raise TargetError if the output of `runtime/spark_master.py` says that no master answers."""
    values = dict(line.partition(" ")[::2] for line in answer.splitlines())
    if "master_error" not in values:
        return
    if target.master == "yarn":
        raise TargetError(
            f"YARN's ResourceManager does not answer: {values['master_error']}",
            where=machine,
            hint="run `yarn node -list` there; its address is in yarn-site.xml in HADOOP_CONF_DIR",
        )
    raise TargetError(
        f"the Spark master {target.master} does not answer: {values['master_error']}",
        where=machine,
        hint=f"start it (sbin/start-master.sh), or set another master in {target.place.path}",
    )


def _answer_of_machine(plan: Plan, launch: Launch, connection: SSHConnection, *more: str) -> str:
    """The output of `spark.sh` on another machine, and of a Python program of the runtime, if given."""
    variables = "".join(
        f"{name}={shlex.quote(value)}\nexport {name}\n"
        for name, value in launch.environment.items()
        if is_plain(name)
    )
    script = f"(\n{Path(shell('spark')).read_text('utf-8')}\n)\n"
    if more:
        words = [
            launch.python.path,
            "-I",
            "-S",
            "-c",
            (SITE / "amlexec" / more[0]).read_text("utf-8"),
            *more[1:],
        ]
        if launch.digest:
            path = f"$HOME/.amlexec/archives/{launch.digest}.tar.gz"
            script += f'[ ! -e "{path}" ] || echo "archive {path}"\n'
        # Beside the shell's part, which takes as long.
        script = f"{' '.join(map(shlex.quote, words))} </dev/null &\n{script}wait\n"
    answer = connection.run(variables + script, plan.target.spark_submit_location, launch.python.path)
    return answer.stdout


def _usable(plan: Plan, launch: Launch, answer: str, machine: str) -> Spark:
    """The Spark in an answer of `spark.sh`. Raises like `local`."""
    found = submit_args.read(answer)
    if not found.submit:
        raise submit_args.no_spark(plan, f"on {machine}", _NO_SPARK.format(launch.python.path))
    submit_args.java_must_do(found, str(plan.target.place), _NO_JAVA)
    return found


def ivy_for_folders(plan: Plan, dependencies: SparkDependencies) -> str:
    """The path of Ivy settings that only use these folders; "" for Ivy's own settings.

    Used if all packages are from folders, to avoid requests over the network.
    """
    roots = submit_args.repositories(dependencies)
    if not roots or not submit_args.coordinates(dependencies) or roots != submit_args.folders(dependencies):
        return ""
    text = submit_args.ivy_settings(roots)
    path = Path(plan.project.state, "cache", f"ivy-{of_bytes(text.encode())[:20]}.xml")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    return str(path)


def name_of(plan: Plan) -> str:
    """The default name of an application: the project and the script."""
    return f"{plan.project.name} {plan.script}"
