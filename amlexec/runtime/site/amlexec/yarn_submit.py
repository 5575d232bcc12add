"""An application of YARN, with which the head node stays until its end: what `yarn_start.py` starts.

MODE is `client` or `cluster`; TAG is the application's tag. What it prints is the run's output: with a driver
on a node, the node's logs while they grow. It ends with the script's exit code. In the run's folder it writes
control/application.json with what YARN says, and control/came.tar with the results of a driver on a node.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time

import hadoop_archives
import hadoop_files
import hadoop_site
import yarn_errors
import yarn_kill
import yarn_output
import yarn_rest
from hadoop_site import HadoopError
from yarn_output import say

INTERVAL_S = 0.5
LATER_S = 2
"""Instead, after a minute: YARN has others to answer."""
PATIENCE_S = 5
"""Until a waiting application is worth a line."""
LAG_S = 20
"""For YARN to say how an application has ended, after spark-submit has."""
TICKET_S = 24 * 3600
"""For the user to get a new Kerberos ticket."""
NO_PYTHON = "the environment's Python does not run on the driver's node: it may be for another processor"
FOLDERS = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")
"""The variables with the folders of Hadoop's configuration."""


class CanceledError(Exception):
    """The run is canceled."""


class Submission:
    """A run's application."""

    def __init__(self, mode, tag, words, begun=None):
        """No I/O. `begun` is a command line that was started in place of `words`, and its process."""
        self.mode, self.tag, self.words = mode, tag, words
        self.run_folder = os.environ["AMLEXEC_RUN_FOLDER"]
        self.control = os.path.join(self.run_folder, "control")
        self.spark = hadoop_archives.spark_home(words[0])
        self.settings = hadoop_site.settings("core-site.xml", "hdfs-site.xml", "yarn-site.xml")
        self.yarn = yarn_rest.Yarn(yarn_rest.resource_managers(self.settings))
        self.files = hadoop_files.files(self.settings, self.spark)
        self.folder = hadoop_files.home(self.settings) + "/.amlexec"
        self.archives = hadoop_archives.Archives(self.files, self.folder, say, self.drop)
        self.app = {}
        self.error = ""
        self.begun, self.process = begun or (None, None)
        self.logs = yarn_output.DriverLogs()
        self.waits_since = self.shown_reason = None
        self.is_kept = self.has_results = self.is_left = False

    def run(self):
        """The exit code of the run."""
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            code = self.submit()
            if code != 0 and not self.app and yarn_errors.is_archive_gone(self.run_folder):
                say("the cluster no longer has an archive of this run: it is stored again")
                code = self.submit(anew=True)
            code = self.result(code)
        except CanceledError:
            self.cancel()
            code = 143
        except (HadoopError, OSError) as error:
            self.error = "the cluster's file system: %s" % error
            say(self.error)
            self.drop()
            code = 1
        self.finish()
        return code

    def end(self):
        """The exit code of ending the application in place of a process that was killed."""
        self.cancel()
        self.finish()
        return int(self.is_left)

    def finish(self):
        """Remove what is left of the run; what is written says whether its application has ended."""
        self.write()
        self.tidy()
        self.write(is_finished=not self.is_left)

    def submit(self, anew=False):
        """The exit code of spark-submit; meanwhile, the application is looked at."""
        words = self.archives.store(self.words, self.spark, self.control, anew)
        if words != self.begun:
            self.drop()
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self.begun = None
        # Notices the end at once; `wait` with a timeout would look for it every 50 ms.
        waiting = threading.Thread(target=self.process.wait)
        waiting.daemon = True
        waiting.start()
        until = time.time() + 60
        while True:
            waiting.join(INTERVAL_S if time.time() < until else LATER_S)
            if not waiting.is_alive():
                code = self.process.returncode
                return code if code >= 0 else 128 - code
            try:
                self.look()
            except HadoopError:
                pass  # spark-submit says more

    def drop(self):
        """End a spark-submit that begins, and an application that it may have submitted."""
        self.begun = None
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
            try:
                found = self.yarn.tagged(self.tag)
            except HadoopError:
                return  # it can't be asked
            if found:
                self.yarn.kill(found["id"])

    def look(self):
        """Ask YARN, and copy what is new in the logs."""
        identity = self.app.get("id")
        found = self.yarn.application(identity) if identity else self.yarn.tagged(self.tag)
        if not found:
            return
        if found.get("state") != self.app.get("state"):
            self.app = found
            self.write()
        self.app = found
        if found["state"] == "ACCEPTED" and found["waiting"]:
            self.tell_waiting()
        else:
            self.waits_since = None
        if self.mode == "cluster":
            self.logs.follow(self.app)

    def tell_waiting(self):
        """Say what the application waits for, if it waits for long and this is new."""
        now = time.time()
        self.waits_since = self.waits_since or now
        reason = self.app["diagnostics"].strip().splitlines()
        text = "waiting for %s in queue %s" % (self.app["waiting"], self.app["queue"])
        text += ": " + re.sub(r"^\[[^\]]*\]\s*", "", reason[-1])[:500] if reason else ""
        if now - self.waits_since > PATIENCE_S and text != self.shown_reason:
            self.shown_reason = text
            say(text)

    def result(self, code):
        """The exit code of the script, after spark-submit has ended with `code`."""
        self.stay(code)
        if self.mode != "cluster":
            return code
        came = os.path.join(self.control, "came.tar")
        address = "%s/runs/%s/results.tar" % (self.folder, self.tag)
        try:
            if not self.fetched(address, came + ".new"):
                if re.search(
                    r"User application exited with (status )?12[67]\b", self.app.get("diagnostics", "")
                ):
                    self.error = NO_PYTHON
                # spark-submit does not know the script's exit code, and 0 would be a claim.
                return code or 1
        except (HadoopError, OSError) as error:
            self.error = "the results could not be fetched: %s" % error
            self.is_kept = True
            say("%s; they are in %s" % (self.error, address))
            return code or 1
        os.rename(came + ".new", came)
        self.has_results, self.error = True, ""
        import tarfile  # slow, as all that only some runs need

        with tarfile.open(came) as archive:
            self.logs.show_rest(archive)
            return int(archive.extractfile("exit_code").read(20))

    def fetched(self, address, local):
        """Whether there are results. Waits for a ticket if the user's has expired. Raises HadoopError."""
        until = time.time() + TICKET_S
        while True:
            try:
                return self.files.get(address, local)
            except HadoopError as error:
                if str(error) not in (hadoop_site.EXPIRED, hadoop_site.NO_TICKET) or time.time() > until:
                    raise
                say("%s; the results are in %s and wait for it" % (error, address))
            while not hadoop_site.has_ticket() and time.time() < until:
                time.sleep(LATER_S)

    def stay(self, code):
        """Wait until YARN says that the application has ended: spark-submit may have ended before it."""
        until, pause = time.time() + LAG_S, 0.02
        is_reported = False
        while self.yarn.addresses:
            try:
                self.look()
            except HadoopError as error:
                if error.kind not in hadoop_site.CLOSED:
                    self.error = "YARN no longer knows the application %s: %s" % (self.app.get("id"), error)
                elif not is_reported:
                    say("YARN does not tell how the application has ended: %s" % error)
                    if not self.app and code != 0:
                        self.error = yarn_errors.why(self.run_folder)  # perhaps nothing was submitted
                # spark-submit stays until an application ends.
                return
            if self.app.get("state") in yarn_rest.FINAL:
                return
            if not self.app and (code != 0 or self.mode != "cluster"):
                self.error = yarn_errors.why(self.run_folder) if code != 0 else ""
                return  # nothing was submitted
            if time.time() > until and (not self.app or self.mode != "cluster"):
                if self.app:
                    self.yarn.kill(self.app["id"])  # its driver has ended
                return
            if time.time() > until and not is_reported:
                is_reported = True
                say("spark-submit has ended, but not the application %s" % self.app["id"])
            time.sleep(pause)
            pause = min(2 * pause, INTERVAL_S) if time.time() < until else LATER_S

    def cancel(self):
        """Kill the application, whatever its state."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        try:
            self.app = yarn_kill.killed(self.yarn, self.spark, self.tag, self.app)
        except HadoopError as error:
            self.is_left = True
            say("the application could not be killed: %s" % error)

    def write(self, is_finished=False):
        """Write what is known of the application."""
        names = ("id", "state", "finalStatus", "trackingUrl", "queue")
        report = {key: self.app.get(key, "") for key in names}
        report["diagnostics"] = self.app.get("diagnostics", "")[:16384]
        report.update(attempts=self.logs.attempts(), error=self.error, is_finished=is_finished)
        report["has_results"] = self.has_results
        report["conf"] = {name: os.environ.get(name, "") for name in FOLDERS}
        path = os.path.join(self.control, "application.json")
        with open(path + ".new", "w") as file:
            json.dump(report, file)
        os.rename(path + ".new", path)

    def tidy(self):
        """Remove what the application leaves in the cluster: Spark only does so if it ends well."""
        is_left = self.mode == "cluster" and not self.is_kept
        paths = ["%s/runs/%s" % (self.folder, self.tag)] if is_left else []
        if self.app.get("id") and self.app.get("finalStatus") != "SUCCEEDED":
            paths.append("%s/.sparkStaging/%s" % (os.path.dirname(self.folder), self.app["id"]))
        if paths:
            self.files.delete(*paths)


def configure(spark):
    """Set HADOOP_CONF_DIR as spark-submit would, if only Spark's settings name it."""
    if os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR"):
        return
    path = os.path.join(os.environ.get("SPARK_CONF_DIR") or spark + "/conf", "spark-env.sh")
    script = '. "$0" >/dev/null 2>&1; printf "%s\\n%s" "$HADOOP_CONF_DIR" "$YARN_CONF_DIR"'
    if os.path.exists(path):
        lines = subprocess.check_output(["bash", "-c", script, path], stdin=subprocess.DEVNULL)
        for name, text in zip(FOLDERS, lines.decode("utf-8", "replace").split("\n")):  # noqa: B905
            if text:
                os.environ[name] = text


def as_before(path):
    """Use the configuration of Hadoop that the killed process has used."""
    try:
        with open(path) as file:
            found = json.load(file)["conf"]
    except (IOError, OSError, ValueError, KeyError):
        return  # it was killed before it has submitted an application
    for name in FOLDERS:
        if found[name]:
            os.environ[name] = found[name]


def main(mode, tag, words, begun=None):
    """Stay with the application. See `Submission` for `begun`."""

    def canceled(*_):
        raise CanceledError

    is_end = mode.startswith("end-")
    if is_end:
        as_before(os.path.join(os.environ["AMLEXEC_RUN_FOLDER"], "control", "application.json"))
    configure(hadoop_archives.spark_home(words[0]))
    if is_end:
        return Submission(mode[4:], tag, words).end()
    made = Submission(mode, tag, words, begun)
    signal.signal(signal.SIGTERM, canceled)
    return made.run()
