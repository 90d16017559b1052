"""A site → mosquitto's configuration: TLS with a certificate for each kiosk, and what each may publish.

No passwords: the certificate's common name is the user (use_identity_as_username). Knows nothing of messages.
https://mosquitto.org/man/mosquitto-conf-5.html
"""

from __future__ import annotations

from ipaddress import ip_address

from export.fleet.site import TOPICS, Kiosk, Site

KIOSK_FOLDER = "/etc/mien"


def topic_of(kiosk: Kiosk) -> str:
    """Return what a kiosk's topics begin with."""
    return f"mien/{kiosk.name}"


def mosquitto_conf(site: Site) -> str:
    """Return the broker's configuration: one listener, encrypted, both sides shown to be who they say."""
    place = site.folder / "certificates"
    return f"""# The broker of {site.name}: /etc/mosquitto/conf.d/mien.conf, mosquitto 2.
listener {site.broker_port}
cafile {place}/ca.pem
certfile {place}/broker.pem
keyfile {place}/broker.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {site.folder}/acl
# a line of 64 faces takes 16 KB, and the stream sends none above 64
message_size_limit 65536
"""


def acl(site: Site) -> str:
    """Return who may do what: a kiosk publishes its own topics and reads nothing, the monitor reads all."""
    lines = ["# Nobody else has a right. After a change: kill -HUP of mosquitto.",
             f"user {site.monitor}", "topic read mien/#"]
    for kiosk in site.kiosks:
        lines += ["", f"user {kiosk.name}", *(f"topic write {topic_of(kiosk)}/{name}" for name in TOPICS)]
    return "\n".join(lines) + "\n"


def kiosk_yaml(site: Site, kiosk: Kiosk) -> str:
    """Return the keys that a kiosk's stream.yaml needs."""
    return f"""# For the stream.yaml of {kiosk.name}. metrics answer whoever reaches that address: there is no password.
metrics:
  port: {site.metrics_port}
  host: "{kiosk.address}"
mqtt:
  host: "{site.broker}"
  port: {site.broker_port}
  topic: {topic_of(kiosk)}
  tls: true
  ca_file: {KIOSK_FOLDER}/ca.pem
  certificate: {KIOSK_FOLDER}/{kiosk.name}.pem
  key: {KIOSK_FOLDER}/{kiosk.name}.key
"""


def certificates_script(site: Site) -> str:
    """Return the openssl recipe for the authority, the broker, the monitor and every kiosk; what is there stays."""
    clients = " ".join([site.monitor, *(kiosk.name for kiosk in site.kiosks)])
    return f"""#!/bin/sh
# Makes what is missing in certificates/: an authority; a key and a certificate for the broker, the monitor, each kiosk.
# Run it where the authority's key shall stay: not on the broker, and on no kiosk.
# Delete a NAME.pem to have it signed again.
set -eu
umask 077
mkdir -p "$(dirname "$0")/certificates"
cd "$(dirname "$0")/certificates"

new_key() {{
    [ ! -e "$1" ] || return 0
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.part"
    mv "$1.part" "$1"
}}

sign() {{  # name, what it is for, under which name or address it is asked for
    [ ! -e "$1.pem" ] || return 0
    new_key "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf '%s\\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \\
        "extendedKeyUsage=$2" "subjectAltName=$3" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial "0x1$(openssl rand -hex 15)" \\
        -days "${{DAYS:-825}}" -sha256 -extfile "$1.ext" -out "$1.pem.part"
    rm "$1.csr" "$1.ext"
    mv "$1.pem.part" "$1.pem"
}}

new_key ca.key
if [ ! -e ca.pem ]; then
    openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN={site.name}" \\
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem.part
    mv ca.pem.part ca.pem
fi
sign broker serverAuth {_alternative(site.broker)}
for name in {clients}; do
    sign "$name" clientAuth "DNS:$name"
done
"""


def _alternative(host: str) -> str:
    try:
        return f"IP:{ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"
