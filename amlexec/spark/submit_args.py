"""What spark-submit is told, and what a Spark needs to run: values, and errors of what they lack."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages.urls import secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.model import Plan, SparkDependencies

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
"""Properties that have done their work when the packages are there."""
_JAVA = {2: (8, 8), 3: (8, 23), 4: (17, 0)}
"""By major version of Spark: the oldest Java that it runs on, and the newest (0 where none is known).

https://spark.apache.org/docs/latest/#downloading, and of each older version its own page; Java 24 has no
security manager any more, which Spark 3 calls (https://openjdk.org/jeps/486).
"""


class Spark(NamedTuple):
    """A Spark, as `runtime/spark.sh` finds it. Texts are "" where it could not tell."""

    submit: str = ""
    """Path of spark-submit; "" where there is no Spark."""
    version: str = ""
    scala: str = ""
    """Version of the Scala that it is made for, such as `2.12`."""
    java: str = ""
    """Version of the Java that it will start, `unknown` where it has one that doesn't tell."""
    java_path: str = ""
    jars: tuple[str, ...] = ()
    """Files of the packages that were made ready for its runs."""

    @property
    def name(self) -> str:
        """`Spark 3.5.9`, or `Spark`."""
        return f"Spark {self.version}".rstrip()


def read(answer: str) -> Spark:
    """What `runtime/spark.sh` said."""
    told: dict[str, str] = {}
    jars = []
    for line in answer.splitlines():
        key, _, value = line.partition(" ")
        told[key] = value
        if key == "jar":
            jars.append(value)
    java, _, java_path = told.get("java", "").partition(" ")
    return Spark(
        told.get("submit", ""), told.get("version", ""), told.get("scala", ""), java, java_path, tuple(jars)
    )


class Pythons(NamedTuple):
    """The Pythons of a Spark application, and which of them the files name themselves."""

    driver: str
    executors: str
    declared_driver: str = ""
    """The key that names it; "" where it is the environment's."""
    declared_executors: str = ""

    @property
    def options(self) -> list[str]:
        """The options that say so: over them goes neither spark-defaults.conf nor spark-env.sh.

        https://spark.apache.org/docs/latest/configuration.html: "The Python binary executable ... takes
        precedence over the environment variable". What the Spark dependencies name is an option already.
        """
        told = []
        for key, value, declared in (
            (_PYTHON, self.executors, self.declared_executors),
            (_DRIVER_PYTHON, self.driver, self.declared_driver),
        ):
            if declared != key:
                told += ["--conf", f"{key}={value}"]
        return told

    def warnings(self, plan: Plan) -> list[str]:
        """What is to be said where an environment was prepared, and is not used."""
        return [
            f"{plan.configuration}: {key} names the Python of the {who}, {python}: it is not the prepared one"
            for who, key, python in (
                ("driver", self.declared_driver, self.driver),
                ("executors", self.declared_executors, self.executors),
            )
            if key
        ]


def pythons(plan: Plan, dependencies: SparkDependencies, driver: str, executors: str) -> Pythons:
    """The Pythons of an application: those that the files declare, else `driver` and `executors`.

    A property goes over a variable, as in Spark, and the executors' is the driver's too where that has none.
    """
    properties, variables = dict(dependencies.configuration), dict(plan.environment_variables)

    def chosen(default: str, *keys: str) -> tuple[str, str]:
        found = ((properties.get(key) or variables.get(key), key) for key in keys)
        value, key = next(((value, key) for value, key in found if value), (default, ""))
        return value or default, "" if value == default else key

    for_driver, its_key = chosen(driver, _DRIVER_PYTHON, _PYTHON, "PYSPARK_DRIVER_PYTHON")
    for_executors, their_key = chosen(executors, _PYTHON, "PYSPARK_PYTHON")
    return Pythons(for_driver, for_executors, its_key, their_key)


def no_spark(plan: Plan, there: str, how: str) -> ConfigurationError:
    """The error of a place without Spark: `there` says where it is, `how` says how to get one."""
    wanted = plan.target.spark_submit_location
    if wanted != "spark-submit":
        return ConfigurationError(
            f"sparkSubmitLocation is {wanted!r}, and there is no such program {there}",
            where=str(plan.target.place),
            hint="give the path of spark-submit, or remove the key to have it looked for",
        )
    return ConfigurationError(
        f"Framework is PySpark, and there is no Spark {there}", where=str(plan.target.place), hint=how
    )


def java_must_do(spark: Spark, where: str, how: str) -> None:
    """Raise where there is no Java, or not one that this Spark runs on (TargetError); `how` to get one."""
    oldest, newest = _JAVA.get(_major(spark.version), (8, 0))
    wanted = f"Java {oldest}" + ("" if newest == oldest else f" to {newest}" if newest else " or later")
    if not spark.java:
        raise TargetError(f"{spark.name} needs {wanted}, and there is no Java", where=where, hint=how)
    # Java 8 calls itself 1.8.
    found = _major(spark.java.removeprefix("1."))
    if found and (found < oldest or (newest and found > newest)):
        raise TargetError(
            f"{spark.name} needs {wanted}, and {spark.java_path} is Java {spark.java}", where=where, hint=how
        )


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def coordinates(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The Maven coordinates of all packages, `group:artifact:version`, in order, each once."""
    named = (f"{one.group}:{one.artifact}:{one.version}" for one in dependencies.packages)
    return tuple(dict.fromkeys([*named, *_listed(dependencies, _PACKAGES)]))


def repositories(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The addresses of all repositories that are named, in order, each once."""
    return tuple(dict.fromkeys([*dependencies.repositories, *_listed(dependencies, _REPOSITORIES)]))


def folders(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The repositories that are folders, in order; addresses as they are written."""
    return tuple(one for one in repositories(dependencies) if one.lower().startswith("file:"))


def folder_of(root: str, address: str) -> str:
    """The path of a repository that is a folder; what is not absolute is relative to the project's `root`."""
    from urllib.parse import unquote, urlsplit

    path = unquote(urlsplit(address).path)
    return path if path.startswith("/") else f"{root}/{path.removeprefix('./')}"


def folders_must_be_there(dependencies: SparkDependencies, root: str) -> None:
    """Raise where a repository is a folder that is not there (ConfigurationError)."""
    for address in folders(dependencies):
        path = folder_of(root, address)
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib costs a run 3 ms
            raise ConfigurationError(
                f"repositories has {address}, and there is no folder {path}",
                where=str(dependencies.place),
                hint="a path that is not absolute is relative to the project's root: file:maven",
            )


def placed(dependencies: SparkDependencies, root: str) -> SparkDependencies:
    """The same, with absolute addresses of the repositories that are folders of the project at `root`."""
    from urllib.parse import quote

    def absolute(address: str) -> str:
        is_folder = address.lower().startswith("file:")
        return f"file://{quote(folder_of(root, address))}" if is_folder else address

    return dependencies._replace(repositories=tuple(map(absolute, dependencies.repositories)))


def excludes(dependencies: SparkDependencies) -> tuple[str, ...]:
    """What is left out of the packages' own dependencies: `group:artifact`, in order."""
    return _listed(dependencies, EXCLUDES)


def _listed(dependencies: SparkDependencies, key: str) -> tuple[str, ...]:
    text = dict(dependencies.configuration).get(key, "")
    return tuple(one.strip() for one in text.split(",") if one.strip())


def settings(dependencies: SparkDependencies) -> tuple[tuple[str, str], ...]:
    """Names and values that are in the options, the names as those of environment variables."""
    told = ((name.replace(".", "_"), value) for name, value in dependencies.configuration)
    logins = (("password", one) for address in repositories(dependencies) for one in secrets(address))
    return (*told, *logins)


def arguments(dependencies: SparkDependencies, name: str, ivy: str = "") -> tuple[str, ...]:
    """The options of spark-submit, where it fetches the packages itself.

    `name` is the application's where the file names none; `ivy` is the path of settings for Ivy, "" for its
    own. What is named twice, as a key and as a property, counts twice: an option would hide the property.
    """
    options = _named(dependencies, name, dependencies.configuration)
    if ivy and "spark.jars.ivySettings" not in dict(dependencies.configuration):
        options += ["--conf", f"spark.jars.ivySettings={ivy}"]
    elif found := repositories(dependencies):
        options += ["--repositories", ",".join(found)]
    if found := coordinates(dependencies):
        options += ["--packages", ",".join(found)]
    return tuple(options)


def baked_arguments(dependencies: SparkDependencies, name: str, jars: Iterable[str]) -> tuple[str, ...]:
    """The options of spark-submit, where the packages are there already, as the files `jars`."""
    named = dict(dependencies.configuration)
    kept = {key: value for key, value in named.items() if key not in _RESOLVED}
    options = _named(dependencies, name, kept.items())
    if jars := tuple(jars):
        # Packages may have Python modules in them too: spark-submit treats what it fetches alike.
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
    """Settings of Ivy with which packages come from the first of these repositories that has them.

    Without them it asks all of the world's for each, also where a folder has it.
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
