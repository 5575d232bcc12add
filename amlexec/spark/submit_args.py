"""Arguments of spark-submit, and the requirements of a Spark installation."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages.urls import secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.dependencies import SparkDependencies
    from amlexec.values import Plan

__all__ = [
    "EXCLUDES",
    "Pythons",
    "Spark",
    "arguments",
    "baked_arguments",
    "coordinates",
    "excludes",
    "folder_of",
    "folders",
    "folders_must_be_there",
    "ivy_settings",
    "java_must_do",
    "no_spark",
    "placed",
    "pythons",
    "read",
    "repositories",
    "settings",
]

_PACKAGES = "spark.jars.packages"
_REPOSITORIES = "spark.jars.repositories"
EXCLUDES = "spark.jars.excludes"
_JARS = "spark.jars"
_PY_FILES = "spark.submit.pyFiles"
_PYTHON = "spark.pyspark.python"
_DRIVER_PYTHON = "spark.pyspark.driver.python"
_RESOLVED = frozenset([_PACKAGES, _REPOSITORIES, EXCLUDES])
"""Properties that are no longer needed when the packages are installed."""
_JAVA = {2: (8, 8), 3: (8, 23), 4: (17, 0)}
"""By major version of Spark: the oldest and the newest Java that it supports (0: no known limit).

https://spark.apache.org/docs/latest/#downloading, and of each older version its own page; Java 24 removed
the security manager, which Spark 3 calls (https://openjdk.org/jeps/486).
"""


class Spark(NamedTuple):
    """A Spark installation, found by `runtime/spark.sh`. Unknown values are ""."""

    submit: str = ""
    """Path of spark-submit; "" if there is no Spark."""
    version: str = ""
    scala: str = ""
    """Version of its Scala, such as `2.12`."""
    java: str = ""
    """Version of the Java that it will start; `unknown` if that Java does not report one."""
    java_path: str = ""
    jars: tuple[str, ...] = ()
    """Files of the packages that were installed for its runs."""
    hadoop: str = ""
    """Folder of Hadoop's configuration; `unknown` if only Spark knows it, "" if there is none."""
    ticket: str = ""
    """The user's Kerberos ticket, as `spark.sh` prints it; "" if none is needed, or it is unknown."""

    @property
    def name(self) -> str:
        """`Spark 3.5.9`, or `Spark`."""
        return f"Spark {self.version}".rstrip()


def read(answer: str) -> Spark:
    """Parse the output of `runtime/spark.sh`."""
    values: dict[str, str] = {}
    jars = []
    for line in answer.splitlines():
        key, _, value = line.partition(" ")
        values[key] = value
        if key == "jar":
            jars.append(value)
    java, _, java_path = values.get("java", "").partition(" ")
    return Spark(
        values.get("submit", ""),
        values.get("version", ""),
        values.get("scala", ""),
        java,
        java_path,
        tuple(jars),
        values.get("hadoop", ""),
        values.get("ticket", ""),
    )


class Pythons(NamedTuple):
    """The Pythons of a Spark application, and the keys in the user's files that name them."""

    driver: str
    executors: str
    declared_driver: str = ""
    """The key that names the driver's Python; "" if it is the environment's."""
    declared_executors: str = ""

    @property
    def options(self) -> list[str]:
        """The options for these Pythons; they override spark-defaults.conf and spark-env.sh.

        https://spark.apache.org/docs/latest/configuration.html: "The Python binary executable ... takes
        precedence over the environment variable". Pythons in the Spark dependencies are options already.
        """
        words = []
        for key, value, declared in (
            (_PYTHON, self.executors, self.declared_executors),
            (_DRIVER_PYTHON, self.driver, self.declared_driver),
        ):
            if declared != key:
                words += ["--conf", f"{key}={value}"]
        return words

    def warnings(self, plan: Plan) -> list[str]:
        """Warnings for a prepared environment that is not used."""
        return [
            f"{plan.configuration}: {key} sets the {who}'s Python to {python}, which is not the prepared one"
            for who, key, python in (
                ("driver", self.declared_driver, self.driver),
                ("executors", self.declared_executors, self.executors),
            )
            if key
        ]


def pythons(plan: Plan, dependencies: SparkDependencies, driver: str, executors: str) -> Pythons:
    """The Pythons of an application: those that the files declare, else `driver` and `executors`.

    As in Spark, a property overrides a variable, and the driver's Python defaults to the executors'.
    """
    properties, variables = dict(dependencies.configuration), dict(plan.environment_variables)

    def chosen(default: str, *keys: str) -> tuple[str, str]:
        declared = ((properties.get(key) or variables.get(key), key) for key in keys)
        value, key = next(((value, key) for value, key in declared if value), (default, ""))
        return value or default, "" if value == default else key

    for_driver, its_key = chosen(driver, _DRIVER_PYTHON, _PYTHON, "PYSPARK_DRIVER_PYTHON")
    for_executors, their_key = chosen(executors, _PYTHON, "PYSPARK_PYTHON")
    return Pythons(for_driver, for_executors, its_key, their_key)


def no_spark(plan: Plan, place: str, how: str) -> ConfigurationError:
    """The error for a missing Spark: `place` is as in "on HOST"; `how` is the hint."""
    wanted = plan.target.spark_submit_location
    if wanted != "spark-submit":
        return ConfigurationError(
            f"sparkSubmitLocation is {wanted!r}, but there is no such program {place}",
            where=str(plan.target.place),
            hint="give the path of spark-submit, or remove the key to search for it",
        )
    return ConfigurationError(
        f"Framework is PySpark, but there is no Spark {place}", where=str(plan.target.place), hint=how
    )


def java_must_do(spark: Spark, where: str, how: str) -> None:
    """Raise TargetError if there is no Java, or none that this Spark supports; `how` is the hint."""
    oldest, newest = _JAVA.get(_major(spark.version), (8, 0))
    wanted = f"Java {oldest}" + ("" if newest == oldest else f" to {newest}" if newest else " or later")
    if not spark.java:
        raise TargetError(f"{spark.name} needs {wanted}, but there is no Java", where=where, hint=how)
    # Java 8 calls itself 1.8.
    major = _major(spark.java.removeprefix("1."))
    if major and (major < oldest or (newest and major > newest)):
        raise TargetError(
            f"{spark.name} needs {wanted}, but {spark.java_path} is Java {spark.java}", where=where, hint=how
        )


def _major(version: str) -> int:
    match = re.match(r"\d+", version)
    return int(match[0]) if match else 0


def coordinates(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The Maven coordinates of all packages, `group:artifact:version`, in order, without duplicates."""
    named = (f"{each.group}:{each.artifact}:{each.version}" for each in dependencies.packages)
    return tuple(dict.fromkeys([*named, *_listed(dependencies, _PACKAGES)]))


def repositories(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The addresses of all named repositories, in order, without duplicates."""
    return tuple(dict.fromkeys([*dependencies.repositories, *_listed(dependencies, _REPOSITORIES)]))


def folders(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The repositories that are folders, in order; addresses as in the file."""
    addresses = repositories(dependencies)
    return tuple(address for address in addresses if address.lower().startswith("file:"))


def folder_of(root: str, address: str) -> str:
    """The path of a repository that is a folder; relative ones start at the project's `root`."""
    from urllib.parse import unquote, urlsplit

    path = unquote(urlsplit(address).path)
    return path if path.startswith("/") else f"{root}/{path.removeprefix('./')}"


def folders_must_be_there(dependencies: SparkDependencies, root: str) -> None:
    """Raise ConfigurationError if a repository is a folder that does not exist."""
    for address in folders(dependencies):
        path = folder_of(root, address)
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib costs a run 3 ms
            raise ConfigurationError(
                f"repositories has {address}, but there is no folder {path}",
                where=str(dependencies.place),
                hint="relative paths start at the project's root: file:maven",
            )


def placed(dependencies: SparkDependencies, root: str) -> SparkDependencies:
    """The same, with absolute addresses for the repositories that are folders of the project at `root`."""
    from urllib.parse import quote

    def absolute(address: str) -> str:
        is_folder = address.lower().startswith("file:")
        return f"file://{quote(folder_of(root, address))}" if is_folder else address

    return dependencies._replace(repositories=tuple(map(absolute, dependencies.repositories)))


def excludes(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The excluded dependencies of the packages: `group:artifact`, in order."""
    return _listed(dependencies, EXCLUDES)


def _listed(dependencies: SparkDependencies, key: str) -> tuple[str, ...]:
    text = dict(dependencies.configuration).get(key, "")
    return tuple(item.strip() for item in text.split(",") if item.strip())


def settings(dependencies: SparkDependencies) -> tuple[tuple[str, str], ...]:
    """Names and values in the options, with names in the form of environment variables, for redaction."""
    named = ((name.replace(".", "_"), value) for name, value in dependencies.configuration)
    logins = (("password", value) for address in repositories(dependencies) for value in secrets(address))
    return (*named, *logins)


def arguments(dependencies: SparkDependencies, name: str, ivy: str = "") -> tuple[str, ...]:
    """The options of spark-submit if it fetches the packages itself.

    `name` is the application's default name; `ivy` is the path of settings for Ivy, "" for the default.
    Packages of both the keys and the properties are passed, because an option hides the property.
    """
    options = _named(dependencies, name, dependencies.configuration)
    if ivy and "spark.jars.ivySettings" not in dict(dependencies.configuration):
        options += ["--conf", f"spark.jars.ivySettings={ivy}"]
    elif addresses := repositories(dependencies):
        options += ["--repositories", ",".join(addresses)]
    if packages := coordinates(dependencies):
        options += ["--packages", ",".join(packages)]
    return tuple(options)


def baked_arguments(dependencies: SparkDependencies, name: str, jars: Iterable[str]) -> tuple[str, ...]:
    """The options of spark-submit if the packages are already installed, as the files `jars`."""
    named = dict(dependencies.configuration)
    kept = {key: value for key, value in named.items() if key not in _RESOLVED}
    options = _named(dependencies, name, kept.items())
    if jars := tuple(jars):
        # Packages may contain Python modules too; spark-submit does the same for packages that it fetches.
        for option, key in (("--jars", _JARS), ("--py-files", _PY_FILES)):
            options += [option, ",".join([*([named[key]] if named.get(key) else []), *jars])]
    return tuple(options)


def _named(dependencies: SparkDependencies, name: str, kept: Iterable[tuple[str, str]]) -> list[str]:
    has_name = "spark.app.name" in dict(dependencies.configuration)
    options = [] if has_name else ["--name", name]
    for key, value in kept:
        options += ["--conf", f"{key}={value}"]
    return options


def ivy_settings(roots: Iterable[str]) -> str:
    """Settings that make Ivy take each package from the first of these repositories that has it.

    By default Ivy asks every repository for each package, even if a folder has it.
    The format: https://ant.apache.org/ivy/history/latest-milestone/settings.html.
    """
    from xml.sax.saxutils import quoteattr

    lines = [
        f'      <ibiblio name="repository-{number}" m2compatible="true" root={quoteattr(_slashed(root))}/>'
        for number, root in enumerate(roots, 1)
    ]
    return "\n".join(
        [
            "<ivysettings>",
            '  <settings defaultResolver="amlexec"/>',
            "  <resolvers>",
            '    <chain name="amlexec" returnFirst="true">',
            *lines,
            "    </chain>",
            "  </resolvers>",
            "</ivysettings>\n",
        ]
    )


def _slashed(root: str) -> str:
    return root if root.endswith("/") else f"{root}/"
