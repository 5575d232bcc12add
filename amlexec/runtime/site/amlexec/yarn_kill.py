"""The end of an application: by the ResourceManager's REST interface, or by YARN's own command line.

The command is for where that interface can't be asked: each call starts a JVM, which takes seconds.
"""

import os
import re
import subprocess
import time

import hadoop_site
import yarn_rest
from hadoop_site import HadoopError

_MOST_S = 50
"""By default, it would ask a ResourceManager that is down for 15 minutes."""
_LAG_S = 20
_INTERVAL_S = 0.25


def killed(yarn, spark, tag, app):
    """What is known of the application with this tag after it was killed; {} if there is none.

    `app` is what was known before, `spark` is SPARK_HOME. Raises HadoopError if it may not have ended.
    """
    try:
        app = yarn.tagged(tag) or app
    except HadoopError:
        pass  # it can't be asked
    if not yarn.is_silent:
        if not app or app["state"] in yarn_rest.FINAL:
            return app
        if yarn.kill(app["id"]):
            return _until_ended(yarn, tag, app)
    identity = app.get("id") or _listed(spark, tag)
    if identity:
        _called(spark, "-kill", identity)
        app = dict(app, id=identity, state="KILLED")
    return app


def _until_ended(yarn, tag, app):
    """The same, after the ResourceManager has been told."""
    until = time.time() + _LAG_S
    while app["state"] not in yarn_rest.FINAL:
        if time.time() > until:
            raise HadoopError("YARN has not ended it within %d s" % _LAG_S)
        time.sleep(_INTERVAL_S)
        app = yarn.tagged(tag) or app
    return app


def _program(spark):
    """The words of the command for applications; `spark` is SPARK_HOME."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders.append(os.path.join(os.environ.get("HADOOP_HOME", "/usr/lib/hadoop"), "bin"))
    for folder in folders:
        path = os.path.join(folder, "yarn")
        if os.access(path, os.X_OK):
            return [path]
    return [os.path.join(spark, "bin", "spark-class"), "org.apache.hadoop.yarn.client.cli.ApplicationCLI"]


def _called(spark, *words):
    """What it prints. Raises HadoopError."""
    pipe = subprocess.PIPE
    program = _program(spark) + ["application"] + list(words)
    try:
        process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise HadoopError("%s: %s" % (program[0], error.strerror)) from None
    try:
        output, errors = process.communicate(timeout=_MOST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise HadoopError("%s has not ended after %d s" % (program[0], _MOST_S)) from None
    if process.returncode != 0:
        hadoop_site.must_be_let_in(errors)
        lines = errors.decode("utf-8", "replace").strip().splitlines() or [""]
        raise HadoopError(lines[-1][:1000] or "%s ended with %d" % (program[0], process.returncode))
    return output.decode("utf-8", "replace")


def _listed(spark, tag):
    """The id of an application with this tag that has not ended; "" if there is none."""
    match = re.search(r"application_\d+_\d+", _called(spark, "-list", "-appTags", tag))
    return match.group() if match else ""
