#!/bin/sh
# Print which Spark and Java a script would use, as lines of KEY VALUE; a missing one has no line.
#
# usage: sh spark.sh LOCATION PYTHON        as in sparkSubmitLocation and pythonLocation
#
#   submit PATH       spark-submit: LOCATION, or, if that is the bare name, the one on PATH, the one of
#                     SPARK_HOME, or that of the pyspark which is installed for PYTHON
#   version VERSION   of Spark;  scala VERSION  of the Scala that it was built for
#   java VERSION PATH
#   jar PATH          of each prepared package, sorted by name
#   hadoop FOLDER     Hadoop's configuration: of the script's variables, or in the usual place; `unknown` if Spark's own
#                     settings name it, or if the machine has YARN's command
#   ticket valid PRINCIPAL EXPIRES, missing, expired, or unreadable KIND   of a cluster with Kerberos: Java reads files only
# The script's PATH is used to find Spark and Java; our own programs are in the usual places.
of_script=$PATH
PATH=$PATH:/usr/local/bin:/usr/bin:/bin
named() { (PATH=$of_script && command -v "$1" 2>/dev/null); }

case $1 in
'~/'*) submit=$HOME/${1#'~/'} ;;
*) submit=$1 ;;
esac
submit=$(named "$submit")
case $submit in */*) [ -x "$submit" ] || submit= ;; *) submit= ;; esac
if [ -z "$submit" ] && [ "$1" = spark-submit ]; then
  if [ -n "${SPARK_HOME-}" ] && [ -x "$SPARK_HOME/bin/spark-submit" ]; then
    submit=$SPARK_HOME/bin/spark-submit
  fi
fi
# The pyspark of PYTHON, if it has one: a folder that is also a SPARK_HOME. Found without importing it.
pyspark() {
  "$1" -c 'import importlib.util, os
found = importlib.util.find_spec("pyspark")
print(os.path.dirname(found.origin) if found and found.origin else "")' 2>/dev/null </dev/null
}
home=
if [ -z "$submit" ]; then
  if [ "$1" = spark-submit ]; then
    home=$(pyspark "$2")
    [ -z "$home" ] || submit=$home/bin/spark-submit
    [ -x "$submit" ] || submit=
  fi
else
  # Resolve links: spark-submit finds its folder only from its real path.
  real=$(readlink -f "$submit" 2>/dev/null)
  if [ -h "$submit" ] && [ ! -e "${submit%/*}/find-spark-home" ] && [ -e "${real%/*}/find-spark-home" ]; then
    submit=$real
  fi
  home=${SPARK_HOME-}
  [ -d "$home/jars" ] || home=${real%/*/*}
  [ -d "$home/jars" ] || home=$(pyspark "$2")
fi
[ -n "$submit" ] || exit 0
echo "submit $submit"
for jar in "$home"/jars/spark-core_*.jar; do
  [ -e "$jar" ] || continue
  jar=${jar##*/spark-core_}
  jar=${jar%.jar}
  echo "version ${jar#*-}"
  echo "scala ${jar%%-*}"
done
for jar in /opt/amlexec/spark/jars/*.jar; do
  [ ! -e "$jar" ] || echo "jar $jar"
done
conf=${HADOOP_CONF_DIR:-${YARN_CONF_DIR-}}
if [ -n "$conf" ]; then
  echo "hadoop $conf"
else
  if grep -Eqs '(HADOOP|YARN)_CONF_DIR' "${SPARK_CONF_DIR:-$home/conf}/spark-env.sh"; then
    echo "hadoop unknown"
  elif [ -r /etc/hadoop/conf/yarn-site.xml ]; then
    conf=/etc/hadoop/conf
    echo "hadoop $conf"
  elif [ -n "$(named yarn)" ] || [ ! -d "$home/jars" ]; then
    # A distribution's own spark-submit may set it.
    echo "hadoop unknown"
  fi
fi

of_ticket() { LC_ALL=C "$klist" 2>/dev/null | sed -n "$1" | sed 1q; }
is_secure() {
  cat "$conf/core-site.xml" 2>/dev/null | tr -d ' \t\r\n' |
    grep -qi '<name>hadoop.security.authentication</name><value>kerberos</value>'
}
# Whatever Spark's own settings name is usually the same. With a file of tokens, no ticket is needed.
conf=${conf:-/etc/hadoop/conf}
if [ -z "${HADOOP_TOKEN_FILE_LOCATION-}" ] && is_secure && klist=$(named klist); then
  kind=$(of_ticket 's/^Ticket cache: \([A-Z]*\):.*/\1/p')
  if ! "$klist" -s 2>/dev/null; then
    [ -n "$(of_ticket p)" ] && echo "ticket expired" || echo "ticket missing"
  elif [ "${kind:-FILE}" != FILE ]; then
    echo "ticket unreadable $kind"
  else
    # MM/DD/YY HH:MM:SS  MM/DD/YY HH:MM:SS  krbtgt/REALM@REALM
    expires=$(of_ticket 's,^[^ ]* [^ ]*  \([^ ]* [^ ]*\)  krbtgt/.*,\1,p')
    echo "ticket valid $(of_ticket 's/^.*rincipal: *//p') $expires"
  fi
fi

java=
if [ -n "${JAVA_HOME-}" ]; then
  java=$JAVA_HOME/bin/java
elif grep -qs JAVA_HOME "${SPARK_CONF_DIR:-$home/conf}/spark-env.sh"; then
  # Spark's own settings name it; only Spark may run them.
  echo "java unknown"
  exit 0
else
  java=$(named java)
fi
[ -n "$java" ] && [ -x "$java" ] || exit 0
real=$(readlink -f "$java" 2>/dev/null) || real=$java
version=
for release in "${real%/bin/java}/release" "${real%/jre/bin/java}/release"; do
  [ -n "$version" ] || version=$(sed -n 's/^JAVA_VERSION="\([^"]*\)".*/\1/p' "$release" 2>/dev/null)
done
[ -n "$version" ] || version=$("$java" -version 2>&1 </dev/null | sed -n 's/.* version "\([^"]*\)".*/\1/p' | sed 1q)
echo "java ${version:-unknown} $java"
