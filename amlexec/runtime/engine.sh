#!/bin/sh
# Print the socket of this user's Docker engine, and the user, as lines of KEY VALUE.
#
#   HOME, UID, GID, USER     of the user
#   SOCKET                   the first engine's socket that the user has permission for, else the first that exists
#   THERE yes                it exists
#   ACCESS yes               the user has permission for it
#   LISTENS yes              something listens on it; "no" if nothing does; no line if that is unknown
#   ELSEWHERE                the address in DOCKER_HOST or the context, if it is not a socket
#   INSTALLED yes            a Docker engine is installed, running or not
LC_ALL=C
export LC_ALL

say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$(printf '%s' "$2" | tr '\n\r\t' '   ')"; }

say HOME "${HOME-}"
say UID "$(id -u)"
say GID "$(id -g)"
say USER "$(id -un 2>/dev/null)"

# named: the address that the `docker` command is configured for: DOCKER_HOST, else its current context.
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

# look SOCKET…: the first with permission, else the first that exists
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
runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
case $told in
unix://*) look "${told#unix://}" ;;
'') look /var/run/docker.sock "$runtime/docker.sock" "${HOME-}/.docker/run/docker.sock" "$runtime/podman/podman.sock" /run/podman/podman.sock ;;
*) say ELSEWHERE "$told" ;;
esac
if [ -z "$told$socket" ]; then
  # Many users set it in files that only a login in a terminal reads. Output of start-up files is on other lines.
  told=$("${SHELL:-/bin/sh}" -l -c 'echo "docker-host=$DOCKER_HOST"' </dev/null 2>/dev/null | sed -n 's/^docker-host=unix:\/\///p' | tail -n 1)
  [ -z "$told" ] || look "$told"
  [ -z "$told" ] || [ -n "$socket" ] || socket=$told
fi
[ -n "$socket" ] || case $told in unix://*) socket=${told#unix://} ;; esac
say SOCKET "$socket"
[ ! -S "$socket" ] || say THERE yes
[ -z "$socket" ] || [ ! -w "$socket" ] || say ACCESS yes
if [ -S "$socket" ] && [ -r /proc/net/unix ]; then
  # A listening socket has this flag. /var/run and /run are the same folder, so it may have either name.
  if grep -q " 00010000 .*${socket#/var}\$" /proc/net/unix; then say LISTENS yes; else say LISTENS no; fi
fi
for each in dockerd /usr/bin/dockerd /usr/sbin/dockerd /usr/local/bin/dockerd "${HOME-}/bin/dockerd"; do
  if command -v "$each" >/dev/null 2>&1; then
    say INSTALLED yes
    break
  fi
done
