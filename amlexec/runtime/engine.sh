#!/bin/sh
# Print where the Docker engine of this user's is, and who the user is, as lines of KEY VALUE.
#
#   HOME, UID, GID, USER     of the user
#   SOCKET                   the first engine's socket that the user may use, else the first that is there
#   THERE yes                it is there
#   ACCESS yes               the user may use it
#   LISTENS yes              something listens there; "no" where nothing does; no line where that is not known
#   ELSEWHERE                what DOCKER_HOST or the context names, where that is no socket
#   INSTALLED yes            there is a Docker engine, running or not
LC_ALL=C
export LC_ALL

say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$(printf '%s' "$2" | tr '\n\r\t' '   ')"; }

say HOME "${HOME-}"
say UID "$(id -u)"
say GID "$(id -g)"
say USER "$(id -un 2>/dev/null)"

# named: what the `docker` command would ask here, as far as it is told: DOCKER_HOST, else its current context.
named() {
  if [ -n "${DOCKER_HOST-}" ]; then
    printf '%s' "$DOCKER_HOST"
    return
  fi
  settings=${DOCKER_CONFIG:-${HOME-}/.docker}
  name=${DOCKER_CONTEXT-}
  [ -n "$name" ] || name=$(sed -n 's/.*"currentContext"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$settings/config.json" 2>/dev/null)
  [ -n "$name" ] && [ "$name" != default ] || return 0
  for each in "$settings"/contexts/meta/*/meta.json; do
    grep -q "\"Name\"[[:space:]]*:[[:space:]]*\"$name\"" "$each" 2>/dev/null || continue
    tr -d '\n' <"$each" | sed -n 's/.*"Host"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
    return
  done
}

# look SOCKET…: the first that may be used, else the first that is there
look() {
  socket=
  for each in "$@"; do
    [ -S "$each" ] || continue
    [ -n "$socket" ] || socket=$each
    if [ -w "$each" ]; then
      socket=$each
      return
    fi
  done
}

told=$(named)
case $told in
unix://*) look "${told#unix://}" ;;
'') look /var/run/docker.sock "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock" "${HOME-}/.docker/run/docker.sock" ;;
*) say ELSEWHERE "$told" ;;
esac
if [ -z "$told$socket" ]; then
  # Many set it where only a login in a terminal reads it. What start-up files print is in other lines.
  told=$("${SHELL:-/bin/sh}" -l -c 'echo "docker-host=$DOCKER_HOST"' </dev/null 2>/dev/null | sed -n 's/^docker-host=unix:\/\///p' | tail -n 1)
  [ -z "$told" ] || look "$told"
  [ -z "$told" ] || [ -n "$socket" ] || socket=$told
fi
[ -n "$socket" ] || case $told in unix://*) socket=${told#unix://} ;; esac
say SOCKET "$socket"
[ ! -S "$socket" ] || say THERE yes
[ -z "$socket" ] || [ ! -w "$socket" ] || say ACCESS yes
if [ -S "$socket" ] && [ -r /proc/net/unix ]; then
  # A socket that listens has this flag; /var/run and /run are the same folder, and it has one of the names.
  if grep -q " 00010000 .*${socket#/var}\$" /proc/net/unix; then say LISTENS yes; else say LISTENS no; fi
fi
for each in dockerd /usr/bin/dockerd /usr/sbin/dockerd /usr/local/bin/dockerd "${HOME-}/bin/dockerd"; do
  if command -v "$each" >/dev/null 2>&1; then
    say INSTALLED yes
    break
  fi
done
