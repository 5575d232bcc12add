"""Check whether the master of a Spark cluster answers. usage: spark_master.py MASTER

Prints `master ADDRESS` if one answers, `master_error WHY` if none does, and nothing if it is unknown.
"""

import os
import socket
import sys

ANSWER_TIMEOUT_S = 5


def addresses(master):
    """The addresses of `spark://...` or `yarn`, as host and port; empty if they are unknown."""
    if master.startswith("spark://"):
        return [split(one, 7077) for one in master[len("spark://") :].split(",")]
    return resource_managers() if master == "yarn" else []


def split(text, port):
    """`host:port` as host and port."""
    host, colon, number = text.strip().rpartition(":")
    return (host.strip("[]"), int(number)) if colon and number.isdigit() else (text.strip("[]"), port)


def resource_managers():
    """The addresses in yarn-site.xml; https://hadoop.apache.org/docs/stable/hadoop-yarn/hadoop-yarn-common/."""
    import xml.etree.ElementTree as ET  # slow to import

    folders = [os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR")]
    for folder in [one for one in folders if one] or ["/etc/hadoop/conf"]:
        try:
            root = ET.parse(os.path.join(folder, "yarn-site.xml")).getroot()  # noqa: S314
        except (IOError, OSError, ET.ParseError):
            continue
        known = {}
        for one in root.iter("property"):
            known[(one.findtext("name") or "").strip()] = (one.findtext("value") or "").strip()
        is_pair = known.get("yarn.resourcemanager.ha.enabled", "").lower() == "true"
        ids = known.get("yarn.resourcemanager.ha.rm-ids", "") if is_pair else ""
        suffixes = ["." + one.strip() for one in ids.split(",") if one.strip()]
        found = []
        for suffix in suffixes or [""]:
            address = known.get("yarn.resourcemanager.address" + suffix, "")
            host = known.get("yarn.resourcemanager.hostname" + suffix, "")
            if address and "$" not in address:
                found.append(split(address, 8032))
            elif host and "$" not in host:
                found.append((host, 8032))
        return found
    return []


def main():
    """Try all addresses."""
    failures = []
    for host, port in addresses(sys.argv[1]):
        try:
            socket.create_connection((host, port), ANSWER_TIMEOUT_S).close()
        except (IOError, OSError) as error:
            failures.append("%s:%d: %s" % (host, port, error.strerror or error))
        else:
            print("master %s:%d" % (host, port))
            return
    if failures:
        print("master_error %s" % "; ".join(failures))


if __name__ == "__main__":
    main()
